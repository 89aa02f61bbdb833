//! Verdicts and exit statuses for recorded events.

use crate::events::{Ended, az_status, error, line, recorded, run};

/// Name of each recording, its verdict, and the exit status.
const VERDICTS: &[(&str, &str, i32)] = &[
    ("all_ready", "READY: az-login, az-fetch, az-join, az-decrypt, az-load in 4.2 s", 0),
    (
        "upstream_refused",
        "FAILED in az-fetch (downloading_key): HTTP 403, role Operator may not read key-fragment. \
         az-join, az-decrypt, az-load stopped because of it.",
        77,
    ),
    (
        "sink_disk_full",
        "FAILED in az-load (loading_images): no space left on device. az-decrypt stopped because of it. \
         Hint: free some space in /var/lib/docker.",
        74,
    ),
    (
        "decrypt_killed",
        "FAILED in az-decrypt (decrypting): killed: it ended without a final line. az-load stopped because of it. \
         Hint: it ran out of memory, or another process killed it: see dmesg and the journal; then run it again.",
        75,
    ),
    (
        "load_reports_killed_stage",
        "FAILED in az-decrypt (decrypting): killed: it ended without a final line. az-load stopped because of it. \
         Hint: it ran out of memory, or another process killed it: see dmesg and the journal; then run it again.",
        75,
    ),
    (
        "load_reports_failed_stage",
        "FAILED in az-decrypt (decrypting): images.enc: the key does not open it. az-load stopped because of it.",
        79,
    ),
    (
        "load_killed",
        "FAILED in az-load (loading_images): killed: it ended without a final line. az-decrypt stopped because of it. \
         Hint: it ran out of memory, or another process killed it: see dmesg and the journal; then run it again.",
        75,
    ),
    (
        "load_killed_after_commit",
        "FAILED in az-load (loading_images): killed: it ended without a final line. \
         Hint: the engine received the whole archive and may still load it: check with az-load --present, or run it again.",
        75,
    ),
    (
        "load_stopped_after_commit",
        "FAILED in az-load (loading_images): stopped by SIGTERM. \
         Hint: the engine received the whole archive and may still load it: check with az-load --present, or run it again.",
        143,
    ),
    (
        "own_error_and_silent_sink",
        "FAILED in az-decrypt (decrypting): the key does not open the file. \
         Also in az-load (loading_images): killed: it ended without a final line.",
        79,
    ),
    (
        "corrupt_file",
        "FAILED in az-decrypt (decrypting): images.enc: segment 70 at offset 73400384 fails its check; nothing after \
         byte 73400240 was released. az-load stopped because of it. \
         Hint: copy the file again, or compare it with the publisher's digest.",
        65,
    ),
    (
        "truncated_file",
        "FAILED in az-decrypt (decrypting): images.enc: ends in segment 70. az-load stopped because of it.",
        65,
    ),
    (
        "reader_outside",
        "FAILED in az-decrypt (decrypting): standard output: Broken pipe. az-fetch stopped because of it.",
        141,
    ),
    (
        "two_causes",
        "FAILED in az-load (idle): unix:/var/run/docker.sock: connection refused. \
         az-fetch, az-join, az-decrypt stopped because of it. \
         Also in az-login (authenticating): api.azaion.com: timed out.",
        69,
    ),
    ("two_runs", "READY: az-login, az-fetch in 1.5 s", 0),
    ("stage_run_again", "READY: az-fetch, az-decrypt in 2.0 s", 0),
    (
        "one_stage_twice",
        "FAILED in az-fetch (downloading_key): models/x: no such resource. az-decrypt stopped because of it.",
        66,
    ),
    (
        "no_common_run",
        "FAILED in az-login (authenticating): no credentials given. az-fetch, az-join stopped because of it.",
        78,
    ),
    ("interrupted", "FAILED in az-decrypt (decrypting): stopped by SIGINT. az-load stopped because of it.", 130),
    ("fixed_time", "FAILED in az-fetch (downloading_key): HTTP 403. az-join stopped because of it.", 77),
];

#[test]
fn each_recording_has_its_verdict_as_a_file_and_as_a_pipe() {
    for (name, verdict, status) in VERDICTS {
        let path = recorded(name);
        let expected = Ended { out: format!("{verdict}\n"), err: String::new(), status: Some(*status) };
        assert_eq!(run(az_status().arg(&path), b""), expected, "{name}");
        let lines = std::fs::read(&path).unwrap();
        let piped = run(az_status().env("AZ_EVENTS", "off").arg("-"), &lines);
        assert_eq!((piped.out, piped.status), (expected.out, expected.status), "{name} from a pipe");
    }
    let files = std::fs::read_dir(recorded("x").parent().unwrap()).unwrap().count();
    assert_eq!(files, VERDICTS.len(), "a recording without a verdict");
}

#[test]
fn recordings_are_valid_events() {
    for (name, ..) in VERDICTS {
        for line in std::fs::read_to_string(recorded(name)).unwrap().lines() {
            let event: loader_model::Event = serde_json::from_str(line).unwrap();
            assert_eq!(String::from_utf8(event.to_line()).unwrap(), format!("{line}\n"), "{name}");
        }
    }
}

#[test]
fn a_run_is_selected_by_its_name() {
    let two = recorded("two_runs");
    let old = run(az_status().args(["--run", "old"]).arg(&two), b"");
    assert_eq!(old.out, "FAILED in az-login (authenticating): login refused. az-fetch stopped because of it.\n");
    assert_eq!(old.status, Some(77));
    let env = run(az_status().env("AZ_RUN", "old").arg(&two), b"");
    assert_eq!(env, old);
    let none = run(az_status().args(["--run", "other"]).arg(&two), b"");
    assert_eq!((none.out.as_str(), none.status), ("FAILED: no stage reported anything in run other\n", Some(66)));
}

#[test]
fn the_last_run_of_a_file_is_the_newest_even_if_the_clock_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let event = |run: &str, stage: &str, state: &str, more: &str| line(1, stage, 7, state, more).replace("r1", run);
    let back = |line: String| line.replace("2026-11-23", "1970-01-01");
    let login = event("a", "az-login", "idle", "")
        + &event("a", "az-login", "ready", "")
        + &back(event("b", "az-login", "idle", ""))
        + &back(event("b", "az-login", "error", &error("not_permitted", 77, "login refused")));
    let load = event("a", "az-load", "idle", "") + &event("a", "az-load", "ready", "");
    std::fs::write(dir.path().join("az-login.jsonl"), login).unwrap();
    std::fs::write(dir.path().join("az-load.jsonl"), load).unwrap();
    let ended = run(az_status().arg("--run-dir").arg(dir.path()), b"");
    assert_eq!((ended.out.as_str(), ended.status), ("FAILED in az-login (idle): login refused.\n", Some(77)));
}

#[test]
fn a_run_directory_with_many_runs_has_the_selected_and_the_newest_run() {
    let dir = tempfile::tempdir().unwrap();
    for (stage, code, exit, message) in [
        ("az-login", "not_permitted", 77, "login refused"),
        ("az-fetch", "no_input", 65, "no token"),
        ("az-join", "no_input", 65, "no fragment"),
    ] {
        let mut lines = String::new();
        for at in 0..300 {
            let stamp = format!("T08:23:{:02}.{:03}Z", at / 10, at % 10 * 100);
            for (state, more) in [("idle", String::new()), ("error", error(code, exit, message))] {
                let event = line(1, stage, 7, state, &more).replace("T08:23:00.001Z", &stamp);
                lines.push_str(&event.replace("r1", &format!("r{at}")));
            }
        }
        std::fs::write(dir.path().join(format!("{stage}.jsonl")), lines).unwrap();
    }
    let expected = "FAILED in az-login (idle): login refused. az-fetch, az-join stopped because of it.\n";
    for options in [&["--run", "r95"][..], &["--run", "r299"], &[]] {
        let ended = run(az_status().arg("--run-dir").arg(dir.path()).args(options), b"");
        assert_eq!((ended.out.as_str(), ended.status), (expected, Some(77)), "{options:?}");
    }
}

#[test]
fn a_run_directory_is_read_in_the_order_of_the_timestamps() {
    let dir = tempfile::tempdir().unwrap();
    let all = std::fs::read_to_string(recorded("sink_disk_full")).unwrap();
    for stage in ["az-login", "az-fetch", "az-join", "az-decrypt", "az-load"] {
        let of_stage: String =
            all.lines().filter(|line| line.contains(&format!("\"{stage}\""))).map(|line| format!("{line}\n")).collect();
        std::fs::write(dir.path().join(format!("{stage}.jsonl")), of_stage).unwrap();
    }
    std::fs::write(dir.path().join("notes.jsonl"), "not read").unwrap();
    let expected = VERDICTS.iter().find(|(name, ..)| *name == "sink_disk_full").unwrap();
    let named = run(az_status().arg("--run-dir").arg(dir.path()), b"");
    assert_eq!((named.out, named.status), (format!("{}\n", expected.1), Some(expected.2)));
    // Standard input is a device, so the directory in AZ_RUN_DIR is read.
    let mut command = az_status();
    let output = command.env("AZ_RUN_DIR", dir.path()).stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", expected.1));
}

#[test]
fn a_failure_is_propagated_only_if_its_event_names_the_cause() {
    let dead = line(0, "az-decrypt", 1, "idle", "") + &line(1, "az-load", 2, "idle", "");
    let text = "az-decrypt failed: no slot fits";
    let own = line(2, "az-load", 2, "error", &error("wrong_key", 79, text));
    let ended = run(&mut az_status(), (dead.clone() + &own).as_bytes());
    let expected = format!(
        "FAILED in az-load (idle): {text}. Also in az-decrypt (idle): killed: it ended without a final line.\n"
    );
    assert_eq!((ended.out, ended.status), (expected, Some(79)));

    let with_cause = |stage: &str| own.replace("fits\"", &format!("fits\",\"caused_by\":\"{stage}\""));
    let ended = run(&mut az_status(), (dead.clone() + &with_cause("az-decrypt")).as_bytes());
    assert!(ended.out.starts_with("FAILED in az-decrypt (idle): killed"), "{}", ended.out);
    assert!(ended.out.contains(" az-load stopped because of it."), "{}", ended.out);
    // A stage that did not fail, or does not exist, is not the cause.
    for stage in ["az-load", "az-fetch", "az-decrypt az-fetch"] {
        let ended = run(&mut az_status(), (dead.clone() + &with_cause(stage)).as_bytes());
        assert!(ended.out.starts_with("FAILED in az-load (idle): "), "{stage}: {}", ended.out);
    }
}

#[test]
fn the_json_verdict_contains_cause_consequences_and_stages() {
    let ended = run(az_status().arg("--json").arg(recorded("two_causes")), b"");
    let verdict: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(verdict["v"], 1);
    assert_eq!(verdict["run"], "5f0c2a91");
    assert_eq!(verdict["state"], "error");
    assert_eq!(verdict["exit"], 69);
    assert_eq!(verdict["cause"]["stage"], "az-load");
    assert_eq!(verdict["cause"]["code"], "unavailable");
    assert_eq!(verdict["stopped"], serde_json::json!(["az-fetch", "az-join", "az-decrypt"]));
    assert_eq!(verdict["also"][0]["stage"], "az-login");
    assert_eq!(verdict["stages"]["az-decrypt"]["code"], "no_input");
    assert_eq!(ended.out.lines().count(), 1);
}

#[test]
fn a_running_stage_is_not_reported_as_killed() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = dir.path().join("az-fetch");
    std::fs::copy("/bin/sleep", &sleeper).unwrap();
    let mut child = std::process::Command::new(&sleeper).arg("600").spawn().unwrap();
    let lines = line(0, "az-fetch", child.id(), "idle", "") + &line(1, "az-fetch", child.id(), "downloading_key", "");
    let file = dir.path().join("run.jsonl");
    std::fs::write(&file, &lines).unwrap();
    let alive = run(az_status().arg(&file), b"");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((alive.out.as_str(), alive.status), ("RUNNING: az-fetch (downloading_key) has not ended\n", Some(75)));
    let gone = run(az_status().arg(&file), b"");
    assert!(gone.out.starts_with("FAILED in az-fetch (downloading_key): killed"), "{}", gone.out);
}

#[test]
fn text_is_passed_on_escaped() {
    let mut input = b"docker: \x1b[31mno\xff\r\n\n{\"v\":2}\n".to_vec();
    input.extend_from_slice(line(0, "az-evil\\u001b[2J", 1, "ready", "").as_bytes());
    input.extend_from_slice(line(1, "az-load", 1, "idle", "").as_bytes());
    input.extend_from_slice(line(2, "az-load", 1, "error", &error("io", 74, "a\\u001b[2Jb\\u202ec")).as_bytes());
    input.extend_from_slice(&vec![b'x'; 70_000]);
    let ended = run(az_status().env("AZ_EVENTS", "off"), &input);
    assert_eq!(ended.out, "FAILED in az-load (idle): a\\u{1b}[2Jb\\u{202e}c.\n");
    let lines: Vec<_> = ended.err.lines().collect();
    assert_eq!(lines[0], "docker: \\u{1b}[31mno\u{fffd}");
    assert_eq!(lines[2], "{\"v\":2}");
    assert!(lines[3].contains("az-evil\\\\u001b") || lines[3].contains("az-evil\\u001b"), "{}", lines[3]);
    assert_eq!(lines.last().map(|last| last.len()), Some(65_536 + " [cut]".len()));
    assert!(!ended.err.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn extreme_values_are_accepted() {
    let mut input = String::new();
    for (at, more) in [
        ",\"done\":18446744073709551615,\"total\":1,\"unit\":\"bytes\"",
        ",\"done\":1,\"total\":0,\"unit\":\"bytes\"",
        ",\"done\":0,\"total\":18446744073709551615,\"unit\":\"layers\"",
        ",\"done\":-1",
        ",\"done\":1e400",
        ",\"step\":\"\\u0000\"",
    ]
    .iter()
    .enumerate()
    {
        input.push_str(&line(at as u16, "az-load", u32::MAX, "loading_images", more));
    }
    input.push_str(&line(9, "az-load", u32::MAX, "error", &error("", 0, "")).replace("2026-11", "9999-12"));
    input.push_str(&line(9, "az-load", 7, "ready", "").replace("2026-11-23T08:23:00.009Z", "never"));
    input.push_str(&"[".repeat(60_000));
    input.push('\n');
    input.push_str(&format!("{{\"v\":1,\"detail\":{}", "{\"a\":".repeat(10_000)));
    let ended = run(&mut az_status(), input.as_bytes());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.out, "READY: az-load\n");
}

#[test]
fn memory_is_bounded_for_thousands_of_runs_and_stages() {
    let mut input = String::new();
    for at in 0..3000 {
        let name: String = format!("{at:04}").bytes().map(|digit| char::from(digit + 49)).collect();
        input.push_str(
            &line(1, &format!("az-{name}"), at + 1, "idle", "").replace("\"r1\"", &format!("\"r{}\"", at % 700)),
        );
    }
    input.push_str(&line(999, "az-load", 1, "error", &error("io", 74, "disk full")).replace("\"r1\"", "\"last\""));
    let ended = run(&mut az_status(), input.as_bytes());
    assert!(ended.out.starts_with("FAILED in az-load (idle): disk full. "), "{}", ended.out);
    assert!(ended.out.len() < 1000);
    assert_eq!(ended.status, Some(74));
}

#[test]
fn no_events_are_a_failure() {
    let ended = run(&mut az_status(), b"");
    assert_eq!((ended.out.as_str(), ended.status), ("FAILED: no stage reported anything\n", Some(65)));
    let missing = run(az_status().arg("/nonexistent/x"), b"");
    assert_eq!(missing.status, Some(66));
    assert!(missing.err.contains("\"code\":\"not_found\""));
}

#[test]
fn an_unreadable_input_is_an_error() {
    let ended = run(az_status().arg("/proc/self/mem"), b"");
    assert_eq!((ended.status, ended.out.as_str()), (Some(74), ""), "{}", ended.err);
}
