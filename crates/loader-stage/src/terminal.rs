//! Detects whether standard output is shown on a terminal, directly or by az-status.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

/// Environment variable in which az-status passes the [`pipe_id`] of the pipe whose text it
/// shows on a terminal.
pub const TERMINAL_PIPE_VAR: &str = "AZ_TERMINAL_PIPE";

/// Returns the unique id of a pipe, its device and inode as `DEVICE:INODE`.
///
/// # Errors
/// The error of fstat(2).
pub fn pipe_id(pipe: impl AsFd) -> io::Result<String> {
    let stat = rustix::fs::fstat(pipe)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Returns true if standard output is shown on a terminal.
pub(crate) fn shows_output() -> bool {
    let stdout = io::stdout();
    let is_shown_by_az_status =
        || env::var(TERMINAL_PIPE_VAR).is_ok_and(|name| pipe_id(&stdout).is_ok_and(|own| own == name));
    stdout.is_terminal() || is_shown_by_az_status()
}
