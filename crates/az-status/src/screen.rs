//! Progress display on standard error: bars, short lines, event lines, or nothing.

mod bars;
mod log_lines;

use crate::processes::{Change, Process};
use crate::stderr;
use loader_model::{Event, UnlockState, printable};
use std::io::IsTerminal;

/// A style of progress display.
pub(crate) enum Screen {
    /// A bar for each process, on a terminal.
    Bars(bars::Bars),
    /// A short line for each change.
    Lines(log_lines::LogLines),
    /// The events, unchanged.
    Events,
    /// Only errors.
    Errors,
    /// Only text, no events.
    Text,
}

impl Screen {
    /// Chooses the style by `AZ_EVENTS` and the terminal. Events of a recorded run are not shown.
    pub(crate) fn new(recorded: bool) -> Self {
        match env_text("AZ_EVENTS").as_deref() {
            _ if recorded => Self::Text,
            Some("off") => Self::Errors,
            Some("human") => Self::Lines(log_lines::LogLines::default()),
            _ if can_draw_bars() => Self::Bars(bars::Bars::new()),
            Some("json") if !std::io::stderr().is_terminal() => Self::Events,
            _ => Self::Lines(log_lines::LogLines::default()),
        }
    }

    /// Shows the change that `event` reports.
    pub(crate) fn show_event(&mut self, process: &Process, change: Change, event: &Event) {
        match self {
            Self::Bars(bars) => bars.show(process),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(process, change) {
                    stderr::write(line.as_bytes());
                }
            }
            Self::Events => stderr::write(&event.to_line()),
            Self::Errors if process.state == UnlockState::Error => stderr::write(log_lines::error(process).as_bytes()),
            Self::Errors | Self::Text => {}
        }
    }

    /// Shows a line of text, which must be printable.
    pub(crate) fn show_text(&mut self, line: &str) {
        match self {
            Self::Bars(bars) => bars.push_text(line),
            _ => stderr::write(format!("{line}\n").as_bytes()),
        }
    }

    /// Redraws rates and times.
    pub(crate) fn tick(&mut self) {
        if let Self::Bars(bars) = self {
            bars.tick();
        }
    }

    /// Stops drawing, and moves the cursor below the bars.
    pub(crate) fn end(&mut self) {
        if let Self::Bars(bars) = self {
            bars.end();
        }
    }
}

fn env_text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns true if bars may be drawn on standard error.
fn can_draw_bars() -> bool {
    let wanted = !matches!(env_text("AZ_EVENTS").as_deref(), Some("off" | "human"));
    wanted && std::io::stderr().is_terminal() && env_text("TERM").is_some_and(|term| term != "dumb")
}

/// Returns true if bars are drawn on the terminal that is standard output too, so that they would
/// overwrite the output of a command.
pub(crate) fn shares_terminal() -> bool {
    let device = |stat: rustix::io::Result<rustix::fs::Stat>| stat.ok().map(|stat| stat.st_rdev);
    let (out, err) = (std::io::stdout(), std::io::stderr());
    can_draw_bars() && out.is_terminal() && device(rustix::fs::fstat(out)) == device(rustix::fs::fstat(err))
}

/// Returns a whole line as text that is safe to print on a terminal.
pub(crate) fn printable_line(bytes: &[u8], is_cut: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\r').unwrap_or(&text).replace('\t', "    ");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // `printable` cuts long text. Pieces of 40 characters stay below its limit: an escape has at most
    // ten.
    while !rest.is_empty() {
        let end = rest.char_indices().nth(40).map_or(rest.len(), |(at, _)| at);
        out.push_str(&printable(&rest[..end]));
        rest = &rest[end..];
    }
    if is_cut {
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
