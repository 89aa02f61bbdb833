//! Runs az-status, and generates event lines for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Output and exit status of az-status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
}

/// Returns a command that runs az-status without the environment, except `PATH`.
pub(crate) fn az_status() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_az-status"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs `command` with `input` on its standard input.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ended {
    let finished = loader_testkit::run(command.stdout(Stdio::piped()).stderr(Stdio::piped()), input);
    let status = (finished.status >= 0).then_some(finished.status);
    Ended { out: finished.text(), err: finished.stderr, status }
}

/// Returns the path of a recording.
pub(crate) fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/{name}.jsonl"))
}

/// Returns an event line of the run `r1` with the timestamp 08:23:00 plus `ms` milliseconds.
pub(crate) fn line(ms: u16, stage: &str, pid: u32, state: &str, more: &str) -> String {
    format!(
        "{{\"v\":1,\"ts\":\"2026-11-23T08:23:00.{ms:03}Z\",\"run\":\"r1\",\"stage\":\"{stage}\",\"pid\":{pid},\"state\":\"{state}\"{more}}}\n"
    )
}

/// Returns the field `error` of an event line.
pub(crate) fn error(code: &str, exit: u8, message: &str) -> String {
    format!(",\"error\":{{\"code\":\"{code}\",\"exit\":{exit},\"message\":\"{message}\"}}")
}
