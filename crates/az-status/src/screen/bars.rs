//! One bar a process.

use crate::board::Process;
use crate::event::rank;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use loader_model::{Unit, UnlockState};

/// Times a second that the terminal is drawn at most.
const DRAWS_PER_SECOND: u8 = 10;
/// More than any count that is real; estimates stay finite below it.
const SHOWN_MAX: u64 = 1 << 60;

const WAITING: &str = "{prefix:12} {msg}";
const BYTES: &str = "{prefix:12} {msg:16} {bytes} {bytes_per_sec}, {elapsed} so far";
const BYTES_OF: &str = "{prefix:12} {msg:16} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
const LAYERS: &str = "{prefix:12} {msg:16} {pos} layers, {elapsed} so far";
const LAYERS_OF: &str = "{prefix:12} {msg:16} {wide_bar} {pos} of {len} layers, {elapsed} so far";
const ENDED: &str = "{prefix:12} {msg}";
const ENDED_BYTES: &str = "{prefix:12} {msg:16} {bytes} in {elapsed}";

/// The bars of a terminal. Nothing is drawn before work is done that needs no
/// person: until then a stage may ask for a password there.
pub(crate) struct Bars {
    multi: MultiProgress,
    bars: Vec<Bar>,
    drawn: bool,
}

struct Bar {
    /// Place of the first event, which names the process.
    process: u64,
    stage: String,
    bar: ProgressBar,
    template: &'static str,
    /// Bytes in all, where that is told.
    total: Option<u64>,
    ended: bool,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), bars: Vec::new(), drawn: false }
    }

    /// Draws `process` as it stands.
    pub(crate) fn show(&mut self, process: &Process) {
        if !self.drawn && !matches!(process.state, UnlockState::Idle | UnlockState::Authenticating) {
            self.drawn = true;
            self.multi.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        }
        let at = match self.bars.iter().position(|bar| bar.process == process.first.seq) {
            Some(at) => at,
            None => self.add(process),
        };
        let total = process.total.or_else(|| self.archive_len(process));
        let template = template(process, total);
        let shown = &mut self.bars[at];
        if template != shown.template {
            shown.template = template;
            if let Ok(style) = ProgressStyle::with_template(template) {
                shown.bar.set_style(style.progress_chars("=> "));
            }
        }
        shown.total = total.filter(|_| process.unit == Unit::Bytes);
        if let Some(total) = total {
            shown.bar.set_length(total.min(SHOWN_MAX));
        }
        if let Some(done) = process.done {
            shown.bar.set_position(done.min(total.unwrap_or(SHOWN_MAX)).min(SHOWN_MAX));
        }
        let message = match &process.step {
            Some(step) if !process.state.is_final() => step.clone(),
            _ => process.state.to_string(),
        };
        if process.state.is_final() {
            shown.ended = true;
            shown.bar.abandon_with_message(message);
        } else {
            shown.bar.set_message(message);
        }
    }

    /// What az-load reads from a pipe is as long as what az-decrypt writes.
    fn archive_len(&self, process: &Process) -> Option<u64> {
        let follows = process.stage == "az-load" && process.unit == Unit::Bytes && !process.state.is_final();
        let before = self.bars.iter().rfind(|bar| follows && bar.stage == "az-decrypt")?;
        before.total.filter(|total| process.done.is_some_and(|done| done <= *total))
    }

    /// A new bar at the place of its stage; that of an earlier process of the
    /// stage goes.
    fn add(&mut self, process: &Process) -> usize {
        if let Some(at) = self.bars.iter().position(|bar| bar.ended && bar.stage == process.stage) {
            self.multi.remove(&self.bars.remove(at).bar);
        }
        let at = self.bars.iter().take_while(|bar| rank(&bar.stage) <= rank(&process.stage)).count();
        let bar = self.multi.insert(at, ProgressBar::new_spinner());
        bar.set_prefix(process.stage.clone());
        let (process, stage) = (process.first.seq, process.stage.clone());
        self.bars.insert(at, Bar { process, stage, bar, template: "", total: None, ended: false });
        at
    }

    /// Calls `write` with the bars out of the way.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.multi.suspend(write);
    }

    /// Lets rates and times go on where bytes move. Without them nothing is
    /// drawn: a prompt may stand there.
    pub(crate) fn tick(&self) {
        if self.drawn {
            for bar in self.bars.iter().filter(|bar| !bar.ended && bar.template != WAITING) {
                bar.bar.tick();
            }
        }
    }

    /// The last picture stays; what had no final line says so.
    pub(crate) fn end(&mut self) {
        for bar in self.bars.iter().filter(|bar| !bar.ended) {
            bar.bar.abandon_with_message("no final line");
        }
        if self.drawn {
            super::put(b"\n");
        }
    }
}

fn template(process: &Process, total: Option<u64>) -> &'static str {
    match (process.unit, process.done, total) {
        (Unit::Bytes, Some(_), _) if process.state.is_final() => ENDED_BYTES,
        _ if process.state.is_final() => ENDED,
        (_, None, _) => WAITING,
        (Unit::Bytes, Some(_), Some(_)) => BYTES_OF,
        (Unit::Bytes, Some(_), None) => BYTES,
        (Unit::Layers, Some(_), Some(_)) => LAYERS_OF,
        (Unit::Layers, Some(_), None) => LAYERS,
    }
}
