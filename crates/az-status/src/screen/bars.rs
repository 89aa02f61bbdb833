//! Progress bars, one for each process.

use crate::event::pipeline_position;
use crate::processes::Process;
use crate::stderr;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use loader_model::{Named, StageName, Unit, UnlockState};
use std::time::{Duration, Instant};

/// Largest number of redraws per second.
const DRAWS_PER_SECOND: u8 = 10;
/// Largest amount that is shown, so that estimates stay finite; larger than any real one.
const SHOWN_MAX: u64 = 1 << 60;

/// Delay after which a line reports that no stage is working.
const IDLE_DELAY: Duration = Duration::from_secs(1);
/// Minimum time between two updates of the text above the bars; each redraws the bars.
const TEXT_INTERVAL: Duration = Duration::from_millis(100);
/// Width of a terminal that does not report one.
const DEFAULT_COLUMNS: u16 = 80;

/// Templates of a bar for terminals of at least 80 columns, at least 50, and fewer.
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
const IDLE_LINE: &str = "no stage is running; waiting for the command to end, {elapsed} so far";

/// The bars on a terminal. Drawing starts only when a stage is past authentication: until then it
/// may ask for a password on the terminal.
pub(crate) struct Bars {
    multi: MultiProgress,
    bars: Vec<Bar>,
    is_drawing: bool,
    /// Text to be shown above the bars.
    text: String,
    text_shown: Instant,
    idle: Option<Idle>,
}

/// A period during which no stage is working.
struct Idle {
    since: Instant,
    /// Line that reports it, drawn after [`IDLE_DELAY`].
    line: Option<ProgressBar>,
}

struct Bar {
    /// Position of the first event, which identifies the process.
    process: u64,
    stage: Named<StageName>,
    bar: ProgressBar,
    template: &'static str,
    /// Total number of bytes, if it is known.
    total: Option<u64>,
    ended: bool,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            bars: Vec::new(),
            is_drawing: false,
            text: String::new(),
            text_shown: Instant::now(),
            idle: None,
        }
    }

    /// Updates the bar of `process`.
    pub(crate) fn show(&mut self, process: &Process) {
        if !self.is_drawing && !matches!(process.state, UnlockState::Idle | UnlockState::Authenticating) {
            self.is_drawing = true;
            self.multi.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        }
        let at = match self.bars.iter().position(|bar| bar.process == process.first.seq) {
            Some(at) => at,
            None => self.add(process),
        };
        let total = process.total.or_else(|| self.archive_len(process));
        let template = template(process, total)[template_index()];
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
            // The steps of an idle stage are over; it is waiting for input.
            Some(step) if !process.state.is_final() && process.state != UnlockState::Idle => step.to_string(),
            _ => process.state.to_string(),
        };
        if process.state.is_final() {
            shown.ended = true;
            shown.bar.abandon_with_message(message);
        } else {
            shown.bar.set_message(message);
        }
    }

    /// Returns the length that az-load will read from a pipe, which is that of the output of
    /// az-decrypt.
    fn archive_len(&self, process: &Process) -> Option<u64> {
        let is_load = process.stage == StageName::Load && process.unit == Unit::Bytes && !process.state.is_final();
        let decrypt = self.bars.iter().rfind(|bar| is_load && bar.stage == StageName::Decrypt)?;
        decrypt.total.filter(|total| process.done.is_some_and(|done| done <= *total))
    }

    /// Adds a bar at the position of its stage. Replaces that of an ended process of the stage.
    fn add(&mut self, process: &Process) -> usize {
        if let Some(at) = self.bars.iter().position(|bar| bar.ended && bar.stage == process.stage) {
            self.multi.remove(&self.bars.remove(at).bar);
        }
        let at = self
            .bars
            .iter()
            .take_while(|bar| pipeline_position(&bar.stage) <= pipeline_position(&process.stage))
            .count();
        self.end_idle();
        let bar = self.multi.insert(at, ProgressBar::new_spinner());
        bar.set_prefix(process.stage.to_string());
        let (process, stage) = (process.first.seq, process.stage.clone());
        self.bars.insert(at, Bar { process, stage, bar, template: "", total: None, ended: false });
        at
    }

    /// Adds a line to the text above the bars, which is shown with a short delay.
    pub(crate) fn push_text(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text_shown.elapsed() >= TEXT_INTERVAL {
            self.show_text();
        }
    }

    fn show_text(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.multi.suspend(|| stderr::write(text.as_bytes()));
            self.text_shown = Instant::now();
        }
    }

    /// Updates the rates and times of working stages. Bars of waiting stages are not redrawn, since
    /// a prompt may be on the terminal.
    pub(crate) fn tick(&mut self) {
        if self.text_shown.elapsed() >= TEXT_INTERVAL {
            self.show_text();
        }
        if !self.is_drawing {
            return;
        }
        for bar in self.bars.iter().filter(|bar| !bar.ended && !WAITING.contains(&bar.template)) {
            bar.bar.tick();
        }
        if self.bars.iter().all(|bar| bar.ended) {
            self.show_idle();
        }
    }

    /// Reports that no stage is working; a command that is not a stage, such as `docker load`, may be.
    fn show_idle(&mut self) {
        let idle = self.idle.get_or_insert_with(|| Idle { since: Instant::now(), line: None });
        match &idle.line {
            Some(line) => line.tick(),
            None if idle.since.elapsed() < IDLE_DELAY => {}
            None => {
                let bar = self.multi.add(ProgressBar::new_spinner().with_elapsed(idle.since.elapsed()));
                if let Ok(style) = ProgressStyle::with_template(IDLE_LINE) {
                    bar.set_style(style);
                }
                idle.line = Some(bar);
            }
        }
    }

    fn end_idle(&mut self) {
        if let Some(line) = self.idle.take().and_then(|idle| idle.line) {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
    }

    /// Stops drawing. Bars of processes without a final line are marked.
    pub(crate) fn end(&mut self) {
        self.end_idle();
        self.show_text();
        for bar in self.bars.iter().filter(|bar| !bar.ended) {
            bar.bar.abandon_with_message("no final line");
        }
        if self.is_drawing {
            stderr::write(b"\n");
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

/// Returns the index of the template for the current width of the terminal.
fn template_index() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    match if columns == 0 { DEFAULT_COLUMNS } else { columns } {
        80.. => 0,
        50.. => 1,
        _ => 2,
    }
}
