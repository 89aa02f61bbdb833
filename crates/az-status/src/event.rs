//! Parses event lines, and checks the names in them.

use crate::line_reader::RawLine;
use loader_model::{Event, EventError, UnlockState, printable};

/// Start of every event line.
const START: &[u8] = b"{\"v\":1,";

/// The stages in the order of the pipeline.
const STAGE_ORDER: &[&str] = &[
    "az-doctor",
    "az-hwid",
    "az-login",
    "az-whoami",
    "az-cdn-creds",
    "az-fetch",
    "az-split",
    "az-join",
    "az-encrypt",
    "az-rekey",
    "az-inspect",
    "az-decrypt",
    "az-push",
    "az-load",
];

/// Returns the event in `line`; `None` if the line is text.
fn parse(line: &[u8]) -> Option<Event> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let mut event: Event = serde_json::from_slice(line).ok()?;
    if event.v != 1 || !is_stage_name(&event.stage) || !is_run_name(&event.run) {
        return None;
    }
    event.detail = None;
    event.step = event.step.map(|step| printable(&step).chars().take(64).collect());
    event.error = match (event.state, event.error) {
        (UnlockState::Error, Some(error)) => Some(EventError {
            code: printable(&error.code).chars().take(64).collect(),
            exit: if error.exit == 0 { loader_model::ErrorCode::Bug.exit() } else { error.exit },
            message: printable(&error.message),
            hint: error.hint.as_deref().map(printable),
            caused_by: error.caused_by.filter(|stage| is_stage_name(stage)),
        }),
        (UnlockState::Error, None) => {
            Some(EventError::new(loader_model::ErrorCode::Bug, "failed without an error message", None))
        }
        _ => None,
    };
    Some(event)
}

/// Splits a line into text and an event. If a progress meter, which writes `\r` instead of newlines,
/// shares the stream, its output may precede the event; the text is then what the meter last
/// displayed.
pub(crate) fn split_line(line: &RawLine) -> (&[u8], Option<Event>) {
    let bytes = &line.bytes[..];
    if line.is_cut {
        return (bytes, None);
    }
    if let Some(event) = parse(bytes) {
        return (b"", Some(event));
    }
    let event_at_end = bytes.windows(START.len()).rposition(|window| window == START).map(|at| bytes.split_at(at));
    let Some((meter, event)) = event_at_end.filter(|(meter, _)| meter.contains(&b'\r')) else { return (bytes, None) };
    let Some(event) = parse(event) else { return (bytes, None) };
    let shown = meter.strip_suffix(b"\r").unwrap_or(meter);
    (shown.rsplit(|byte| *byte == b'\r').next().unwrap_or_default(), Some(event))
}

/// Returns true for 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
pub(crate) fn is_run_name(run: &str) -> bool {
    (1..=64).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Returns true for `az-` and 1 to 61 characters of `a-z -`.
pub(crate) fn is_stage_name(stage: &str) -> bool {
    (4..=64).contains(&stage.len())
        && stage.starts_with("az-")
        && stage.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Returns the position of `stage` in the pipeline; unknown stages come last.
pub(crate) fn pipeline_position(stage: &str) -> usize {
    STAGE_ORDER.iter().position(|known| *known == stage).unwrap_or(STAGE_ORDER.len())
}
