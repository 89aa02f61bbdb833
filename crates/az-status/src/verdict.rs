//! The verdict: one line for a person, one object for a program.

use crate::board::Process;
use crate::judge::{self, Judgement, Kind};
use crate::outlook::{self, StageReport, Stages};
use crate::wording;
use loader_model::{ErrorCode, UnlockState};
use serde::Serialize;

/// Most failures that the line names beside the first cause.
const ALSO_MAX: usize = 3;
/// What is known at the end beside the events.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Exit status of the command, 128 and the signal for one that was killed.
    pub(crate) command: Option<i32>,
    /// Signal that asked to stop, and how many events came before it.
    pub(crate) signal: Option<(i32, u64)>,
    /// The last line that was no event.
    pub(crate) last_text: Option<String>,
    /// Processes that the kernel killed meanwhile for lack of memory.
    pub(crate) oom_kills: u64,
    /// The lines came from one pipe, in their order.
    pub(crate) by_arrival: bool,
    /// The lines were written before; a stage without a final line may still run.
    pub(crate) recorded: bool,
    /// Run that was asked for.
    pub(crate) run: Option<String>,
    /// Seconds that the command took.
    pub(crate) seconds: Option<f64>,
    /// Lines that were too long, and events that there was no room for.
    pub(crate) lost: u64,
}

/// How it ended.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    v: u32,
    run: Option<String>,
    /// `ready` or `error`; a working state while a recorded run still goes on.
    pub(crate) state: UnlockState,
    /// Exit status of az-status.
    pub(crate) exit: u8,
    /// The line.
    #[serde(rename = "verdict")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Finding>,
    stopped: Vec<String>,
    also: Vec<Finding>,
    stages: Stages,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<i32>,
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One failure.
#[derive(Debug, Default, Serialize)]
struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<UnlockState>,
    code: String,
    exit: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Verdict {
    /// The verdict over `processes`, which stand in the order of the pipeline.
    pub(crate) fn new(processes: &[&Process], ending: &Ending) -> Self {
        let labels = outlook::labels(processes);
        let judgement = judge::judge(processes, ending.by_arrival);
        let mut verdict = Self {
            v: 1,
            run: ending.run.clone().or_else(|| outlook::run_of(processes)),
            state: UnlockState::Error,
            exit: 0,
            text: String::new(),
            cause: None,
            stopped: Vec::new(),
            also: Vec::new(),
            stages: outlook::stages(processes, true),
            seconds: ending.seconds.or_else(|| seconds(processes)),
            command: ending.command,
            lost: ending.lost,
        };
        match judgement {
            Some(found) if is_stop(&found, ending) => verdict.stopped_by_signal(&found, &labels, ending),
            Some(found) if ending.recorded && found.kind == Kind::Gone && outlook::is_running(found.cause) => {
                verdict.still_running(&found, &labels, processes);
            }
            Some(found) => verdict.failed(&found, &labels, ending),
            None => verdict.all_ready(&labels, ending),
        }
        verdict
    }

    fn all_ready(&mut self, labels: &Labels<'_>, ending: &Ending) {
        let names = labels.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(", ");
        let last_words = ending.last_text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let told = if labels.is_empty() { "; no stage reported anything" } else { " although every stage was ready" };
        (self.exit, self.text) = match (ending.command, &ending.signal) {
            (Some(status), Some((signal, _))) if status != 0 => (
                128 + *signal as u8,
                format!("STOPPED by {}: the command ended with {status}{told}", wording::signal(*signal)),
            ),
            (Some(status), _) if status != 0 => (
                wording::low_byte(status),
                format!("FAILED: the command ended with {}{told}{last_words}", wording::status(status)),
            ),
            (Some(_), _) if labels.is_empty() => {
                (0, "READY: the command ended with 0; no stage reported anything".into())
            }
            (None, Some((signal, _))) => {
                let stopped = format!("STOPPED by {}: not everything had ended{told}", wording::signal(*signal));
                (128 + *signal as u8, stopped)
            }
            (None, None) if labels.is_empty() => match &ending.run {
                Some(run) => (ErrorCode::NotFound.exit(), format!("FAILED: no stage reported anything in run {run}")),
                None => (ErrorCode::NoInput.exit(), "FAILED: no stage reported anything".into()),
            },
            _ => (0, format!("READY: {names}{}", self.seconds.map(|s| format!(" in {s:.1} s")).unwrap_or_default())),
        };
        if self.exit == 0 {
            self.state = UnlockState::Ready;
        } else {
            let message = self.text.split_once(": ").map_or("", |(_, message)| message).to_owned();
            let code = match (ending.signal, ending.command) {
                (Some(_), _) => ErrorCode::Interrupted.as_str(),
                (None, Some(_)) => "command",
                (None, None) => ErrorCode::NoInput.as_str(),
            };
            self.cause = Some(Finding { code: code.into(), exit: self.exit, message, ..Finding::default() });
        }
    }

    fn failed(&mut self, found: &Judgement<'_>, labels: &Labels<'_>, ending: &Ending) {
        let mut cause = finding(found.cause, labels, ending);
        let place = format!("{} ({})", label(found.cause, labels), found.cause.working);
        // Only a stage whose reader was no stage has a reader that is gone as its
        // cause: then the command knows more.
        match ending.command {
            Some(status) if found.kind == Kind::ReaderGone && status != 0 && status != 141 => {
                let last_words = ending.last_text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                cause.code = "command".into();
                cause.exit = wording::low_byte(status);
                cause.message =
                    format!("its reader went away and the command ended with {}{last_words}", wording::status(status));
                self.text = format!("FAILED after {place}: {}", wording::sentence(&cause.message));
            }
            _ => self.text = format!("FAILED in {place}: {}", wording::sentence(&cause.message)),
        }
        self.stopped = found.stopped.iter().map(|process| label(process, labels)).collect();
        if !self.stopped.is_empty() {
            self.text.push_str(&format!(" {} stopped because of it.", self.stopped.join(", ")));
        }
        self.also = found.also.iter().map(|process| finding(process, labels, ending)).collect();
        for (process, also) in found.also.iter().zip(&self.also).take(ALSO_MAX) {
            let place = format!("{} ({})", label(process, labels), process.working);
            self.text.push_str(&format!(" Also in {place}: {}", wording::sentence(&also.message)));
        }
        if self.also.len() > ALSO_MAX {
            self.text.push_str(&format!(" And {} more.", self.also.len() - ALSO_MAX));
        }
        if let Some(hint) = &cause.hint {
            self.text.push_str(&format!(" Hint: {}", wording::sentence(hint)));
        }
        self.exit = match ending.signal {
            Some((signal, _)) => 128 + signal as u8,
            None => cause.exit,
        };
        self.cause = Some(cause);
    }

    fn stopped_by_signal(&mut self, found: &Judgement<'_>, labels: &Labels<'_>, ending: &Ending) {
        let signal = ending.signal.map_or(0, |(signal, _)| signal);
        let unfinished: Vec<_> = labels.iter().filter(|(process, _)| judge::kind(process).is_some()).collect();
        let names: Vec<_> =
            unfinished.iter().map(|(process, label)| format!("{label} ({})", process.working)).collect();
        self.stopped = unfinished.iter().map(|(_, label)| label.clone()).collect();
        self.exit = 128 + signal as u8;
        self.text = format!("STOPPED by {}: {} did not end", wording::signal(signal), names.join(", "));
        let code = if signal == 15 { ErrorCode::Terminated } else { ErrorCode::Interrupted };
        let mut cause = finding(found.cause, labels, ending);
        (cause.code, cause.exit, cause.hint) = (code.as_str().into(), self.exit, None);
        cause.message = format!("stopped by {}", wording::signal(signal));
        self.cause = Some(cause);
    }

    fn still_running(&mut self, found: &Judgement<'_>, labels: &Labels<'_>, processes: &[&Process]) {
        self.exit = ErrorCode::Temporary.exit();
        self.state = outlook::standing(processes);
        self.stages = outlook::stages(processes, false);
        self.seconds = None;
        self.text = format!("RUNNING: {} ({}) has not ended", label(found.cause, labels), found.cause.working);
    }
}

type Labels<'a> = [(&'a Process, String)];

fn label(process: &Process, labels: &Labels<'_>) -> String {
    let found = labels.iter().find(|(other, _)| std::ptr::eq(*other, process));
    found.map_or_else(|| process.stage.clone(), |(_, label)| label.clone())
}

/// True where the signal, not a failure before it, ended the work.
fn is_stop(found: &Judgement<'_>, ending: &Ending) -> bool {
    let Some((_, events_before)) = ending.signal else { return false };
    found.cause.error.as_ref().is_some_and(judge::is_told_to_stop)
        || found.kind == Kind::Gone
        || found.cause.last.seq > events_before
}

fn finding(process: &Process, labels: &Labels<'_>, ending: &Ending) -> Finding {
    let report = StageReport::new(process, true);
    let mut finding = Finding {
        stage: Some(label(process, labels)),
        state: Some(process.working),
        code: report.code.unwrap_or_default(),
        exit: report.exit.unwrap_or_default(),
        message: report.message.unwrap_or_default(),
        hint: process.error.as_ref().and_then(|error| error.hint.clone()),
    };
    match &process.error {
        None => silent(&mut finding, labels, ending),
        // After Ctrl-C a person knows why.
        Some(error) if error.code == ErrorCode::Terminated.as_str() => {
            let hint = "a supervisor, an out-of-memory daemon or a person told this stage to stop; run it again";
            finding.hint.get_or_insert_with(|| hint.to_owned());
        }
        Some(_) => {}
    }
    let told_to_stop = process.error.as_ref().is_none_or(judge::is_told_to_stop);
    if told_to_stop && process.stage == "az-load" && process.step.as_deref() == Some("unpacking") {
        let hint = "the engine had all of it and may finish by itself: az-load --present tells, or run it again";
        finding.hint = Some(hint.into());
    }
    finding
}

/// What can be said of a stage without a final line. Nothing tells that its work
/// was wrong, and every stage can be run again after a kill, so the status is
/// that of a failure worth a retry; a crash is a bug and would come again.
fn silent(finding: &mut Finding, labels: &Labels<'_>, ending: &Ending) {
    let gone = labels.iter().filter(|(process, _)| judge::kind(process) == Some(Kind::Gone)).count();
    // The status of the command tells the signal only where one can have got it,
    // and 13 is the pipe of another stage.
    let signal = ending.command.filter(|_| gone == 1).map(|status| status - 128);
    let signal = signal.filter(|signal| (1..=31).contains(signal) && *signal != 13);
    let crashed = signal.is_some_and(wording::is_crash);
    let (code, status) = if crashed { ("crashed", ErrorCode::Bug) } else { ("killed", ErrorCode::Temporary) };
    (finding.code, finding.exit) = (code.into(), status.exit());
    finding.message = match signal {
        Some(signal) => format!("{code} by {} before its final line", wording::signal(signal)),
        None => "killed: it ended without a final line".into(),
    };
    let hint = match () {
        () if crashed => "a bug in the program; please report it",
        () if ending.oom_kills > 0 => {
            "the kernel killed for lack of memory meanwhile (dmesg names the process); free some, then run it again"
        }
        () => "out of memory, or a signal from outside? dmesg and the journal tell; then run it again",
    };
    finding.hint = Some(hint.into());
}

/// From the first event to the last, in seconds.
fn seconds(processes: &[&Process]) -> Option<f64> {
    let first = processes.iter().filter_map(|process| process.first.ms).min()?;
    let last = processes.iter().filter_map(|process| process.last.ms).max()?;
    Some(last.saturating_sub(first) as f64 / 1000.0)
}
