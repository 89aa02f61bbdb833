//! Parses event lines, and checks the names in them.

use crate::line_reader::RawLine;
use loader_model::{ErrorCode, Event, EventError, Name, Named, StageName, UnlockState, printable};
use loader_stage::is_run_name;

/// Start of every event line.
const START: &[u8] = b"{\"v\":1,";

/// Returns the event in `line`; `None` if the line is text.
fn parse(line: &[u8]) -> Option<Event> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let mut event: Event = serde_json::from_slice(line).ok()?;
    if event.v != 1 || !StageName::is_possible(event.stage.as_str()) || !is_run_name(&event.run) {
        return None;
    }
    event.step = event.step.map(printable_name);
    event.error = match (event.state, event.error) {
        (UnlockState::Error, Some(error)) => Some(EventError {
            code: printable_name(error.code),
            exit: if error.exit == 0 { ErrorCode::Bug.exit() } else { error.exit },
            message: printable(&error.message),
            hint: error.hint.as_deref().map(printable),
            caused_by: error.caused_by.filter(|stage| StageName::is_possible(stage.as_str())),
        }),
        (UnlockState::Error, None) => Some(EventError::new(ErrorCode::Bug, "failed without an error message", None)),
        _ => None,
    };
    Some(event)
}

/// Splits a line into text and an event. The output of a progress meter, which writes `\r`
/// instead of newlines, may precede an event on the same stream. The text is then the last output
/// of the meter.
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

/// Makes an unknown name printable, with at most 64 characters.
fn printable_name<T: Name>(name: Named<T>) -> Named<T> {
    match name {
        Named::Unknown(name) => Named::Unknown(printable(&name).chars().take(64).collect()),
        known => known,
    }
}

/// Returns the position of `stage` in the pipeline; unknown stages come last.
pub(crate) fn pipeline_position(stage: &Named<StageName>) -> usize {
    stage.known().map_or(usize::MAX, |stage| stage as usize)
}
