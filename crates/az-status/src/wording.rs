//! Small pieces of text in verdicts.

/// Signals that a process raises by its own fault: ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS.
const CRASHES: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];

/// True for a signal that a process brings upon itself.
pub(crate) fn is_crash(signal: i32) -> bool {
    CRASHES.contains(&signal)
}

/// `text` with a full stop, where it has no end of its own.
pub(crate) fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', '…']) { text.to_owned() } else { format!("{text}.") }
}

/// An exit status of a command as this process can pass it on.
pub(crate) fn low_byte(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(1)
}

/// An exit status, with the signal that a shell means by it.
pub(crate) fn status(status: i32) -> String {
    match status {
        129..=159 => format!("{status} ({})", signal(status - 128)),
        _ => status.to_string(),
    }
}

/// The name of a signal.
pub(crate) fn signal(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
