//! Rules for event lines.

use loader_model::{EVENT_LINE_MAX, EVENT_SCHEMA};
use loader_testkit::Finished;
use serde_json::Value;
use std::sync::OnceLock;

/// Fields of an event line, in their order.
const FIELDS: [&str; 12] =
    ["v", "ts", "run", "stage", "pid", "state", "step", "detail", "done", "total", "unit", "error"];

/// Event lines of one process.
#[derive(Debug)]
pub struct Events(pub Vec<Value>);

impl Events {
    /// Returns `error.code` of the last line, if it has one.
    pub fn error_code(&self) -> Option<String> {
        Some(self.0.last()?["error"]["code"].as_str()?.to_owned())
    }

    /// Returns the states in order.
    pub fn states(&self) -> Vec<&str> {
        self.0.iter().map(|line| line["state"].as_str().unwrap()).collect()
    }

    /// Returns the steps in order.
    pub fn steps(&self) -> Vec<&str> {
        self.0.iter().filter_map(|line| line["step"].as_str()).collect()
    }
}

/// The event lines on standard error of a process.
pub trait EventLines {
    /// Parses and checks the event lines.
    fn events(&self) -> Events;

    /// Returns `error.code` of the final event.
    fn code(&self) -> String {
        self.events().error_code().unwrap_or_default()
    }
}

impl EventLines for Finished {
    fn events(&self) -> Events {
        parse(&self.stderr)
    }
}

/// Parses the event lines in `text`.
///
/// # Panics
/// If a line violates the schema, the order of fields or the maximum length.
pub fn parse(text: &str) -> Events {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end: {text}");
    Events(text.lines().map(|line| check_line(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect())
}

fn check_line(line: &str) -> Result<Value, String> {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let document: Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
        jsonschema::draft202012::new(&document).unwrap()
    });
    if line.len() >= EVENT_LINE_MAX {
        return Err(format!("{} bytes", line.len()));
    }
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    schema.validate(&value).map_err(|error| format!("against the schema: {error}"))?;
    // In a compact line without its nested values, each field name at the top level is
    // preceded by a brace or comma.
    let order = top_level_fields(line);
    let expected: Vec<_> = FIELDS.into_iter().filter(|field| value.get(field).is_some()).collect();
    if order != expected { Err(format!("fields in the order {order:?}")) } else { Ok(value) }
}

/// Returns the field names of the outermost object, in order.
fn top_level_fields(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let (mut depth, mut start, mut escaped) = (0, None, false);
    for (at, byte) in line.bytes().enumerate() {
        match (start, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => {
                if depth == 1 && line.as_bytes().get(at + 1) == Some(&b':') {
                    fields.push(&line[from..at]);
                }
                start = None;
            }
            (Some(_), _) => {}
            (None, b'"') => start = Some(at + 1),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            _ => {}
        }
    }
    fields
}

/// Asserts that the lines of a process begin with `idle` and end with its only final line.
/// A usage error, or a failure before the stage started, is a single `error` line.
///
/// # Panics
/// If an assertion fails.
pub fn check_run(events: &Events) {
    let states = events.states();
    let finals = states.iter().filter(|state| matches!(**state, "ready" | "error")).count();
    assert_eq!(finals, 1, "one final line: {states:?}");
    assert!(matches!(states.last(), Some(&("ready" | "error"))), "the final line is the last: {states:?}");
    let early = ["usage", "config", "cannot_create"].map(str::to_owned).map(Some);
    let before_start = states.len() == 1 && early.contains(&events.error_code());
    assert!(states[0] == "idle" || before_start, "idle first: {states:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"v":1,"ts":"2023-11-14T22:13:20.000Z","run":"x","stage":"az-login","state":"idle"}"#;
    const END: &str = r#"{"v":1,"ts":"2023-11-14T22:13:20.000Z","run":"x","stage":"az-login","state":"ready","done":1,"unit":"bytes"}"#;

    #[test]
    fn a_run_has_one_final_line() {
        check_run(&parse(&format!("{START}\n{END}\n")));
        for wrong in [format!("{START}\n"), format!("{END}\n{START}\n"), format!("{START}\n{END}\n{END}\n")] {
            assert!(std::panic::catch_unwind(|| check_run(&parse(&wrong))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_matches_schema_and_field_order() {
        for wrong in [
            START.replace("\"idle\"", "\"waiting\""),
            START.replace("\"idle\"", "\"error\""),
            START.replace("{\"v\":1,", "{").replace('}', ",\"v\":1}"),
            START.replace('}', ",\"more\":1}"),
            START.replace('}', &format!(",\"step\":\"retry\",\"detail\":{{\"x\":\"{}\"}}}}", "y".repeat(4096))),
        ] {
            assert!(check_line(&wrong).is_err(), "{wrong}");
        }
        assert!(check_line(&START.replace('}', ",\"detail\":{\"v\":1,\"ts\":[\"{\"]}}")).is_ok());
    }
}
