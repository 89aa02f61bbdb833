//! Properties of every input: text, incomplete events, and events in impossible orders. Checked with
//! proptest below, and by tests/fuzz.

use crate::line_reader::next_line;
use crate::processes::Processes;
use crate::verdict::{EndState, Verdict};
use crate::{event, prometheus, status_file};
use loader_model::{UnlockState, json_line};
use std::io::BufReader;
use std::time::UNIX_EPOCH;

/// Checks that the verdict on `input` is one printable line, that its exit status is 0 if and only if
/// every stage is ready, and that the output for programs is text.
///
/// # Panics
/// If one of these conditions is false.
pub(crate) fn lines_end_in_a_verdict(input: &[u8]) {
    let mut reader = BufReader::with_capacity(1 + input.len() % 97, input);
    let (mut all, mut last_text) = (Processes::new(false), None);
    while let Some(line) = next_line(&mut reader).unwrap() {
        let (text, event) = event::split_line(&line);
        match event {
            Some(event) => drop(all.add(event, 0)),
            None => last_text = Some(loader_model::printable(&String::from_utf8_lossy(text))),
        }
    }
    for (recorded, command) in [(true, None), (false, None), (false, Some(0)), (false, Some(1))] {
        let end =
            EndState { recorded, command, by_arrival: !recorded, last_text: last_text.clone(), ..EndState::default() };
        let processes = if command.is_some() { all.select_all() } else { all.select(None) };
        let verdict = Verdict::new(&processes, &end);
        assert!(!verdict.text.is_empty() && !verdict.text.contains(char::is_control), "{:?}", verdict.text);
        let is_ready = processes.iter().all(|process| process.state == UnlockState::Ready);
        let is_empty = processes.is_empty() && command.is_none();
        let is_success = is_ready && !is_empty && command != Some(1);
        assert_eq!(verdict.exit == 0, is_success, "{}", verdict.text);
        assert_eq!(verdict.state == UnlockState::Ready, is_success, "{}", verdict.text);
        let written = [
            json_line(&verdict).unwrap(),
            status_file::render(&processes, None, Some(&verdict), UNIX_EPOCH),
            prometheus::render(&processes, Some(&verdict), prometheus::PreviousUnlock::default()),
        ];
        assert!(written.iter().all(|text| !text.is_empty() && std::str::from_utf8(text).is_ok()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Generates event lines and similar text.
    fn line() -> impl Strategy<Value = String> {
        let stage = prop_oneof![Just("az-login"), Just("az-fetch"), Just("az-decrypt"), Just("az-x-y"), Just("other")];
        let state = prop_oneof![
            4 => Just("idle"), 2 => Just("authenticating"), 2 => Just("decrypting"), 3 => Just("ready"),
            3 => Just("error"), 1 => Just("unknown"),
        ];
        let seconds = 0..4_u8;
        let error = prop_oneof![
            3 => Just(String::new()),
            3 => (0..80_u8, "[a-z_]{0,12}", "(?s:.){0,20}").prop_map(|(exit, code, message)| {
                let message = serde_json::Value::from(message);
                format!(r#","error":{{"code":"{code}","exit":{exit},"message":{message}}}"#)
            }),
            1 => Just(r#","error":{"code":"reader_gone","exit":141,"message":"gone"}"#.to_owned()),
            1 => Just(r#","error":{"code":"io","exit":74,"message":"az-fetch failed: disk","caused_by":"az-fetch"}"#.to_owned()),
            2 => any::<u64>().prop_map(|done| format!(r#","done":{done},"total":{},"unit":"layers""#, done / 2)),
        ];
        let event = (stage, state, seconds, 1..4_u8, error).prop_map(|(stage, state, second, pid, error)| {
            format!(
                r#"{{"v":1,"ts":"2026-11-23T08:23:0{second}.123Z","run":"r{}","stage":"{stage}","pid":{pid},"state":"{state}"{error}}}"#,
                pid % 2
            )
        });
        prop_oneof![8 => event, 1 => "(?s:.){0,40}", 1 => Just("{\"v\":1}".to_owned())]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_lines_end_in_a_verdict(lines in prop::collection::vec(line(), 0..20), noise in prop::collection::vec(any::<u8>(), 0..30)) {
            lines_end_in_a_verdict(&[lines.join("\n").as_bytes(), &noise].concat());
        }
    }
}
