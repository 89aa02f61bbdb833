//! One bar a process.

use crate::board::Process;
use crate::event::rank;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use loader_model::{Unit, UnlockState};
use std::time::{Duration, Instant};

/// Times a second that the terminal is drawn at most.
const DRAWS_PER_SECOND: u8 = 10;
/// More than any count that is real; estimates stay finite below it.
const SHOWN_MAX: u64 = 1 << 60;

/// How long nothing is at work before that is said.
const LULL: Duration = Duration::from_secs(1);
/// Least time between two pieces of text above the bars, which are drawn anew for each.
const TEXT_INTERVAL: Duration = Duration::from_millis(100);
/// Columns of a terminal that tells none.
const USUAL_COLUMNS: u16 = 80;

/// What a line shows on a terminal of 80 columns and more, of 50, and of less.
type Templates = [&'static str; 3];

const WAITING: Templates = ["{prefix:12} {msg}"; 3];
const BYTES: Templates = [
    "{prefix:12} {msg:16} {bytes} {bytes_per_sec}, {elapsed} so far",
    "{prefix:12} {bytes} {bytes_per_sec}, {elapsed}",
    "{prefix:12} {bytes}",
];
const BYTES_OF: Templates = [
    "{prefix:12} {msg:16} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
    "{prefix:12} {wide_bar} {bytes}/{total_bytes}, {eta} left",
    "{prefix:12} {percent} %, {eta} left",
];
const LAYERS: Templates = [
    "{prefix:12} {msg:16} {pos} layers, {elapsed} so far",
    "{prefix:12} {msg} {pos} layers, {elapsed}",
    "{prefix:12} {pos} layers",
];
const LAYERS_OF: Templates = [
    "{prefix:12} {msg:16} {wide_bar} {pos} of {len} layers, {elapsed} so far",
    "{prefix:12} {msg} {wide_bar} {pos} of {len} layers, {elapsed}",
    "{prefix:12} {pos} of {len} layers",
];
const ENDED: Templates = WAITING;
const ENDED_BYTES: Templates =
    ["{prefix:12} {msg:16} {bytes} in {elapsed}", "{prefix:12} {msg:16} {bytes} in {elapsed}", "{prefix:12} {msg}"];
const NOTHING_AT_WORK: &str = "no stage is at work; waiting for the command to end, {elapsed} so far";

/// The bars of a terminal. Nothing is drawn before work is done that needs no
/// person: until then a stage may ask for a password there.
pub(crate) struct Bars {
    multi: MultiProgress,
    bars: Vec<Bar>,
    drawn: bool,
    /// Text that waits to be shown above.
    text: String,
    shown_text: Instant,
    /// Since when no stage is at work, and the line that says so.
    lull: Option<(Instant, Option<ProgressBar>)>,
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
        Self {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            bars: Vec::new(),
            drawn: false,
            text: String::new(),
            shown_text: Instant::now(),
            lull: None,
        }
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
        let template = template(process, total)[size()];
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
            // What it looked at beforehand is not what it waits for.
            Some(step) if !process.state.is_final() && process.state != UnlockState::Idle => step.clone(),
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
        self.end_lull();
        let bar = self.multi.insert(at, ProgressBar::new_spinner());
        bar.set_prefix(process.stage.clone());
        let (process, stage) = (process.first.seq, process.stage.clone());
        self.bars.insert(at, Bar { process, stage, bar, template: "", total: None, ended: false });
        at
    }

    /// Shows a line above the bars, soon.
    pub(crate) fn text(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.shown_text.elapsed() >= TEXT_INTERVAL {
            self.show_text();
        }
    }

    fn show_text(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.multi.suspend(|| super::put(text.as_bytes()));
            self.shown_text = Instant::now();
        }
    }

    /// Lets rates and times go on where bytes move. Without them nothing is
    /// drawn: a prompt may stand there.
    pub(crate) fn tick(&mut self) {
        if self.shown_text.elapsed() >= TEXT_INTERVAL {
            self.show_text();
        }
        if !self.drawn {
            return;
        }
        for bar in self.bars.iter().filter(|bar| !bar.ended && !WAITING.contains(&bar.template)) {
            bar.bar.tick();
        }
        if self.bars.iter().all(|bar| bar.ended) {
            self.say_lull();
        }
    }

    /// What is no stage, such as `docker load`, may be at work still.
    fn say_lull(&mut self) {
        let (since, line) = self.lull.get_or_insert_with(|| (Instant::now(), None));
        match line {
            Some(line) => line.tick(),
            None if since.elapsed() < LULL => {}
            None => {
                let bar = self.multi.add(ProgressBar::new_spinner().with_elapsed(since.elapsed()));
                if let Ok(style) = ProgressStyle::with_template(NOTHING_AT_WORK) {
                    bar.set_style(style);
                }
                *line = Some(bar);
            }
        }
    }

    fn end_lull(&mut self) {
        if let Some((_, Some(line))) = self.lull.take() {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
    }

    /// The last picture stays; what had no final line says so.
    pub(crate) fn end(&mut self) {
        self.end_lull();
        self.show_text();
        for bar in self.bars.iter().filter(|bar| !bar.ended) {
            bar.bar.abandon_with_message("no final line");
        }
        if self.drawn {
            super::put(b"\n");
        }
    }
}

fn template(process: &Process, total: Option<u64>) -> &'static Templates {
    match (process.unit, process.done, total) {
        (Unit::Bytes, Some(_), _) if process.state.is_final() => &ENDED_BYTES,
        _ if process.state.is_final() => &ENDED,
        (_, None, _) => &WAITING,
        (Unit::Bytes, Some(_), Some(_)) => &BYTES_OF,
        (Unit::Bytes, Some(_), None) => &BYTES,
        (Unit::Layers, Some(_), Some(_)) => &LAYERS_OF,
        (Unit::Layers, Some(_), None) => &LAYERS,
    }
}

/// Which template fits the terminal, whose size may change.
fn size() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    match if columns == 0 { USUAL_COLUMNS } else { columns } {
        80.. => 0,
        50.. => 1,
        _ => 2,
    }
}
