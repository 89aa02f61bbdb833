//! Whether standard output ends on a terminal, straight or by way of az-status.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

/// Variable in which az-status names the pipe whose text it shows on a terminal,
/// by [`pipe_name`].
pub const TERMINAL_PIPE: &str = "AZ_TERMINAL_PIPE";

/// The name of a pipe that no other one has: its device and inode.
///
/// # Errors
/// The system's, where it tells nothing of the descriptor.
pub fn pipe_name(pipe: impl AsFd) -> io::Result<String> {
    let stat = rustix::fs::fstat(pipe)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// True where a person sees what is written to standard output.
pub(crate) fn shows_output() -> bool {
    let stdout = io::stdout();
    let told = || env::var(TERMINAL_PIPE).is_ok_and(|name| pipe_name(&stdout).is_ok_and(|own| own == name));
    stdout.is_terminal() || told()
}
