//! Text fragments of verdicts.

use signal_hook::consts::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
use signal_hook::low_level::signal_name;

/// Signals that are caused by a fault of the process.
const CRASHES: [i32; 7] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];

/// Returns true for a signal that is caused by a fault of the process.
pub(crate) fn is_crash(signal: i32) -> bool {
    CRASHES.contains(&signal)
}

/// Returns `text` with a full stop, unless it ends with punctuation.
pub(crate) fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', '…']) { text.to_owned() } else { format!("{text}.") }
}

/// Returns `status` as the exit status of this process; 1 if it does not fit.
pub(crate) fn exit_code(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(1)
}

/// Returns an exit status as text, with the signal if it is one of 128 plus a signal.
pub(crate) fn status(status: i32) -> String {
    match status {
        129..=159 => format!("{status} ({})", signal(status - 128)),
        _ => status.to_string(),
    }
}

/// Returns the name of a signal.
pub(crate) fn signal(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
