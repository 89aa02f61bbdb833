//! The event line that a stage writes to standard error.

use crate::{ErrorCode, Named, StageName, Step, UnlockState, printable};
use serde::{Deserialize, Serialize};

/// Maximum length of an event line in bytes, including the newline: a write of at most this
/// size to a pipe is atomic (`PIPE_BUF` on Linux, pipe(7)).
pub const EVENT_LINE_MAX: usize = 4096;

/// The JSON Schema (2020-12) of one event line.
pub const EVENT_SCHEMA: &str = include_str!("../schema/event.schema.json");

/// One event of a stage. The fields are written in the order of their declaration; fields
/// that are `None` are not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the format, 1.
    pub v: u32,
    /// Time, RFC 3339 in UTC with milliseconds.
    pub ts: String,
    /// Name of the run, which all stages of a pipeline share.
    pub run: String,
    /// Name of the program.
    pub stage: Named<StageName>,
    /// Process id; absent if the time is fixed by `SOURCE_DATE_EPOCH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// State of the stage.
    pub state: UnlockState,
    /// The current step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Named<Step>>,
    /// Details of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Map<String, serde_json::Value>>,
    /// Completed amount, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Total amount, in `unit`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Unit of `done` and `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Cause of the failure; only present if `state` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
}

/// Unit of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes of the stream.
    Bytes,
    /// Layers of images.
    Layers,
}

/// The cause in a final `error` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// Class of the failure.
    pub code: Named<ErrorCode>,
    /// Exit status of the process.
    pub exit: u8,
    /// One line that names the affected file or service and the cause.
    pub message: String,
    /// Suggestion for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Stage whose failure this one reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<Named<StageName>>,
}

impl EventError {
    /// Creates the error for `code`; `message` and `hint` are passed through [`printable`].
    pub fn new(code: ErrorCode, message: &str, hint: Option<&str>) -> Self {
        Self {
            code: code.into(),
            exit: code.exit(),
            message: printable(message),
            hint: hint.map(printable),
            caused_by: None,
        }
    }
}

impl Event {
    /// Returns the event as JSON with a newline, at most [`EVENT_LINE_MAX`] bytes. A longer
    /// line is shortened in this order: detail, hint, the end of the message.
    pub fn to_line(&self) -> Vec<u8> {
        let mut event = self.clone();
        loop {
            let mut line = serde_json::to_vec(&event).unwrap_or_default();
            if line.len() < EVENT_LINE_MAX {
                line.push(b'\n');
                return line;
            }
            if event.detail.take().is_some() {
                continue;
            }
            match &mut event.error {
                Some(error) if error.hint.is_some() => error.hint = None,
                Some(error) if error.message.chars().count() > 1 => {
                    let keep = error.message.chars().count() / 2;
                    error.message = error.message.chars().take(keep).collect();
                }
                _ => event.step = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            v: 1,
            ts: "2026-11-23T08:23:00.123Z".into(),
            run: "5f0c2a91".into(),
            stage: StageName::Decrypt.into(),
            pid: Some(4711),
            state: UnlockState::Decrypting,
            step: None,
            detail: None,
            done: Some(1),
            total: Some(2),
            unit: Some(Unit::Bytes),
            error: None,
        }
    }

    #[test]
    fn fields_are_written_in_a_fixed_order() {
        assert_eq!(
            String::from_utf8(event().to_line()).unwrap(),
            "{\"v\":1,\"ts\":\"2026-11-23T08:23:00.123Z\",\"run\":\"5f0c2a91\",\"stage\":\"az-decrypt\",\
             \"pid\":4711,\"state\":\"decrypting\",\"done\":1,\"total\":2,\"unit\":\"bytes\"}\n"
        );
    }

    #[test]
    fn the_stage_that_caused_an_error_is_a_field_of_it() {
        let mut failed = event();
        failed.state = UnlockState::Error;
        let own = EventError::new(ErrorCode::WrongKey, "no slot fits", None);
        failed.error = Some(EventError { caused_by: Some(StageName::Decrypt.into()), ..own.clone() });
        let line = failed.to_line();
        assert!(line.ends_with(b"\"message\":\"no slot fits\",\"caused_by\":\"az-decrypt\"}}\n"));
        assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), failed);
        failed.error = Some(own);
        let line = failed.to_line();
        assert!(line.ends_with(b"\"message\":\"no slot fits\"}}\n"));
        assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), failed);
    }

    #[test]
    fn a_line_never_exceeds_the_atomic_write_size() {
        let wide = "\"🦀".repeat(600);
        let mut long = event();
        long.state = UnlockState::Error;
        long.error = Some(EventError::new(ErrorCode::Io, &wide, Some(&wide)));
        long.detail = Some(serde_json::Map::from_iter([("x".into(), wide.clone().into())]));
        let line = long.to_line();
        assert!(line.len() <= EVENT_LINE_MAX);
        let back: Event = serde_json::from_slice(&line).unwrap();
        assert_eq!(back.error.unwrap().code, ErrorCode::Io);
    }

    /// Returns the names as JSON strings.
    fn names(all: &[impl ToString]) -> serde_json::Value {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().into()
    }

    #[test]
    fn the_schema_lists_the_names() {
        let schema: serde_json::Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
        let fields = &schema["properties"];
        assert_eq!(fields["stage"]["enum"], names(StageName::ALL));
        assert_eq!(fields["state"]["enum"], names(UnlockState::ALL));
        assert_eq!(fields["step"]["enum"], names(Step::ALL));
        assert_eq!(fields["error"]["properties"]["code"]["enum"], names(ErrorCode::ALL));
    }

    #[test]
    fn the_readme_of_loader_stage_lists_the_names() {
        let readme = include_str!("../../loader-stage/README.md");
        // The names in the first column of the table under a heading.
        let listed = |heading: &str| -> serde_json::Value {
            let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
            let (section, _) = section.split_once("\n## ").unwrap();
            let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
            rows.flat_map(|row| row.split(" | ").next().unwrap().split(", ").map(|name| name.replace('`', "")))
                .collect::<Vec<_>>()
                .into()
        };
        assert_eq!(listed("Stages"), names(StageName::ALL));
        assert_eq!(listed("Steps"), names(Step::ALL));
    }
}
