//! What a person sees meanwhile: bars, short lines, event lines, or nothing.

mod bars;
mod plain;

use crate::board::{Change, Process};
use loader_model::{Event, UnlockState, printable};
use std::io::{IsTerminal, Write};

/// Standard error, in one of its forms.
pub(crate) enum Screen {
    /// A bar for each process, on a terminal.
    Bars(bars::Bars),
    /// A short line for each change.
    Lines(plain::Lines),
    /// The events as they came.
    Events,
    /// Only errors.
    Errors,
    /// Nothing but what is no event.
    Text,
}

impl Screen {
    /// The form that `AZ_EVENTS` and the terminal ask for. What was recorded is
    /// not played again.
    pub(crate) fn new(recorded: bool) -> Self {
        match set("AZ_EVENTS").as_deref() {
            _ if recorded => Self::Text,
            Some("off") => Self::Errors,
            Some("human") => Self::Lines(plain::Lines::default()),
            _ if draws() => Self::Bars(bars::Bars::new()),
            Some("json") if !std::io::stderr().is_terminal() => Self::Events,
            _ => Self::Lines(plain::Lines::default()),
        }
    }

    /// Shows what `event` changed in `process`.
    pub(crate) fn event(&mut self, process: &Process, change: Change, event: &Event) {
        match self {
            Self::Bars(bars) => bars.show(process),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(process, change) {
                    put(line.as_bytes());
                }
            }
            Self::Events => put(&event.to_line()),
            Self::Errors if process.state == UnlockState::Error => put(plain::error(process).as_bytes()),
            Self::Errors | Self::Text => {}
        }
    }

    /// Passes on a line that is no event, made printable.
    pub(crate) fn text(&mut self, line: &str) {
        match self {
            Self::Bars(bars) => bars.text(line),
            _ => put(format!("{line}\n").as_bytes()),
        }
    }

    /// Draws again what moves by itself.
    pub(crate) fn tick(&mut self) {
        if let Self::Bars(bars) = self {
            bars.tick();
        }
    }

    /// Leaves the last picture on the terminal and the cursor below it.
    pub(crate) fn end(&mut self) {
        if let Self::Bars(bars) = self {
            bars.end();
        }
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// True where bars may be drawn on standard error.
fn draws() -> bool {
    let wanted = !matches!(set("AZ_EVENTS").as_deref(), Some("off" | "human"));
    wanted && std::io::stderr().is_terminal() && set("TERM").is_some_and(|term| term != "dumb")
}

/// True where bars are drawn on the terminal that standard output goes to as well,
/// so that what a command writes there would be drawn over.
pub(crate) fn shares_terminal() -> bool {
    let device = |stat: rustix::io::Result<rustix::fs::Stat>| stat.ok().map(|stat| stat.st_rdev);
    let (out, err) = (std::io::stdout(), std::io::stderr());
    draws() && out.is_terminal() && device(rustix::fs::fstat(out)) == device(rustix::fs::fstat(err))
}

/// A report must not stop the work: a reader of standard error that went away,
/// or a full disk, is no reason to end.
pub(crate) fn put(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// All of a line, whatever its bytes, as text that is safe to show.
pub(crate) fn printable_line(bytes: &[u8], cut: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\r').unwrap_or(&text).replace('\t', "    ");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // Pieces so short that none is cut: an escape takes ten characters at most.
    while !rest.is_empty() {
        let end = rest.char_indices().nth(40).map_or(rest.len(), |(at, _)| at);
        out.push_str(&printable(&rest[..end]));
        rest = &rest[end..];
    }
    if cut {
        out.push_str(" [cut]");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_are_escaped_and_nothing_is_lost() {
        assert_eq!(printable_line(b"a\x1b[2Jb\tc\r", false), "a\\u{1b}[2Jb    c");
        assert_eq!(printable_line(&[0xff, b'x'], true), "\u{fffd}x [cut]");
        let long = "é".repeat(3000);
        assert_eq!(printable_line(long.as_bytes(), false), long);
    }

    proptest! {
        #[test]
        fn any_bytes_become_printable(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let shown = printable_line(&bytes, false);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.chars().count() + 1 >= String::from_utf8_lossy(&bytes).chars().count());
        }
    }
}
