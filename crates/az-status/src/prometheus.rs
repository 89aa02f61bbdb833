//! Metrics in the Prometheus text format, for the textfile collector of node_exporter.

use crate::processes::Process;
use crate::status::{self, StageSummary};
use crate::verdict::Verdict;
use loader_model::{Unit, UnlockState};
use loader_stage::open_regular;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

const LAST_SUCCESS: &str = "az_unlock_last_success_timestamp_seconds";
const EXIT_CODE: &str = "az_unlock_exit_code";
/// Maximum number of bytes that are read from an existing file. No file that is written is as long.
const EXISTING_FILE_MAX: u64 = 256 * 1024;

/// Values of previous unlocks, which are kept until the current one has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PreviousUnlock {
    /// Time of the last success, in seconds since 1970.
    pub(crate) last_success: Option<u64>,
    /// Exit status of the last unlock, so that a scrape during the next one does not miss it.
    exit: Option<u8>,
}

impl PreviousUnlock {
    /// Reads the values from an existing file; a file that is missing or not text has none.
    pub(crate) fn read(path: &Path) -> Self {
        let mut text = String::new();
        let file = open_regular(path).map(|file| file.take(EXISTING_FILE_MAX).read_to_string(&mut text));
        if !matches!(file, Ok(Ok(_))) {
            return Self::default();
        }
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        Self { last_success: value(LAST_SUCCESS), exit: value(EXIT_CODE).and_then(|exit| u8::try_from(exit).ok()) }
    }
}

/// Returns the metrics of `processes`, and those of the whole unlock if there is a `verdict`.
pub(crate) fn render(processes: &[&Process], verdict: Option<&Verdict>, previous: PreviousUnlock) -> Vec<u8> {
    let mut out = Metrics(String::new());
    let state = verdict.map_or_else(|| status::overall_state(processes), |verdict| verdict.state);
    out.head("az_unlock_state", "gauge", "1 for the current state of the unlock, 0 for the other states.");
    for known in UnlockState::ALL {
        out.sample("az_unlock_state", Some(("state", known.as_str())), u64::from(*known == state));
    }
    if let Some(seconds) = previous.last_success {
        out.head(LAST_SUCCESS, "gauge", "Time of the last successful unlock.");
        out.sample(LAST_SUCCESS, None, seconds);
    }
    if let Some(exit) = verdict.map(|verdict| verdict.exit).or(previous.exit) {
        out.head(EXIT_CODE, "gauge", "Exit status of the last unlock that ended; 0 for success.");
        out.sample(EXIT_CODE, None, exit);
    }
    if let Some(seconds) = verdict.and_then(|verdict| verdict.seconds) {
        out.head("az_unlock_duration_seconds", "gauge", "Duration of the unlock.");
        out.sample("az_unlock_duration_seconds", None, seconds);
    }
    let labels = status::labels(processes);
    let bytes: Vec<_> =
        labels.iter().filter(|(process, _)| process.unit == Unit::Bytes && process.done.is_some()).collect();
    if !bytes.is_empty() {
        out.head("az_stage_bytes_total", "counter", "Bytes that the stage has processed in this run.");
    }
    for (process, label) in bytes {
        out.sample("az_stage_bytes_total", Some(("stage", label)), process.done.unwrap_or_default());
    }
    let ended: Vec<_> = labels
        .iter()
        .filter_map(|(process, label)| Some((label, StageSummary::new(process, verdict.is_some()).exit?)))
        .collect();
    if !ended.is_empty() {
        out.head("az_stage_exit_code", "gauge", "Exit status of a stage that has reported its end.");
    }
    for (label, exit) in ended {
        out.sample("az_stage_exit_code", Some(("stage", label)), exit);
    }
    out.0.into_bytes()
}

struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl std::fmt::Display) {
        let _ = match label {
            Some((key, text)) => writeln!(self.0, "{name}{{{key}=\"{}\"}} {value}", escape(text)),
            None => writeln!(self.0, "{name} {value}"),
        };
    }
}

/// Returns the value of a label with backslashes, quotes and newlines escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Metrics(String::new());
        out.sample("m", Some(("stage", "a\\b\"c\nd")), 1);
        assert_eq!(out.0, "m{stage=\"a\\\\b\\\"c\\nd\"} 1\n");
    }
}
