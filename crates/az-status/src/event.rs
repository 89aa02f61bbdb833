//! The event in a line, and the names in it.

use crate::lines::Line;
use loader_model::{Event, EventError, UnlockState, printable};

/// How every event line begins.
const START: &[u8] = b"{\"v\":1,";

/// The stages in the order of the pipeline.
const ORDER: &[&str] = &[
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

/// The event in a line; `None` for everything else, which is text.
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
        (UnlockState::Error, None) => Some(EventError::new(loader_model::ErrorCode::Bug, "it gave no cause", None)),
        _ => None,
    };
    Some(event)
}

/// The text and the event in a line. An event may stand behind what a progress meter,
/// which begins or ends what it shows with `\r` and no line, was writing; then the text
/// is what the meter shows.
pub(crate) fn split(line: &Line) -> (&[u8], Option<Event>) {
    let bytes = &line.bytes[..];
    if line.cut {
        return (bytes, None);
    }
    if let Some(event) = parse(bytes) {
        return (b"", Some(event));
    }
    let behind = bytes.windows(START.len()).rposition(|window| window == START).map(|at| bytes.split_at(at));
    let Some((meter, event)) = behind.filter(|(meter, _)| meter.contains(&b'\r')) else { return (bytes, None) };
    let Some(event) = parse(event) else { return (bytes, None) };
    let shown = meter.strip_suffix(b"\r").unwrap_or(meter);
    (shown.rsplit(|byte| *byte == b'\r').next().unwrap_or_default(), Some(event))
}

/// True for 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub(crate) fn is_run_name(run: &str) -> bool {
    (1..=64).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// True for `az-` and up to 61 of `a-z -`.
pub(crate) fn is_stage_name(stage: &str) -> bool {
    (4..=64).contains(&stage.len())
        && stage.starts_with("az-")
        && stage.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Place of `stage` in the pipeline; unknown ones come last.
pub(crate) fn rank(stage: &str) -> usize {
    ORDER.iter().position(|known| *known == stage).unwrap_or(ORDER.len())
}
