//! The verdict: a line of text for users, a JSON object for programs.

use crate::processes::Process;
use crate::root_cause::{self, FailureKind, RootCause};
use crate::status::{self, FailureCode, StageSummaries};
use crate::text;
use loader_model::{ErrorCode, StageName, Step, UnlockState};
use serde::Serialize;

/// Number of independent failures that the text names; more are only counted.
const ALSO_MAX: usize = 3;

/// Facts about the end of the run that are not part of the events.
#[derive(Debug, Default)]
pub(crate) struct EndState {
    /// Exit status of the command; 128 plus the signal if it was killed.
    pub(crate) command: Option<i32>,
    /// Signal that this process received, and the number of events before it.
    pub(crate) signal: Option<(i32, u64)>,
    /// Last line of text.
    pub(crate) last_text: Option<String>,
    /// Number of processes that the kernel killed during the run because of low memory.
    pub(crate) oom_kills: u64,
    /// True if the lines come from one pipe, in chronological order.
    pub(crate) by_arrival: bool,
    /// True if the lines come from files; a stage without a final line may still run.
    pub(crate) recorded: bool,
    /// Run that the user selected.
    pub(crate) run: Option<String>,
    /// Duration of the command in seconds.
    pub(crate) seconds: Option<f64>,
    /// Number of lines that were too long, and of dropped events.
    pub(crate) lost: u64,
}

/// The result of the whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    v: u32,
    run: Option<String>,
    /// `ready` or `error`; a working state if a recorded run has not ended.
    pub(crate) state: UnlockState,
    /// Exit status of az-status.
    pub(crate) exit: u8,
    /// The line of text.
    #[serde(rename = "verdict")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<VerdictFailure>,
    stopped: Vec<String>,
    also: Vec<VerdictFailure>,
    stages: StageSummaries,
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

/// A failure of a stage or of the command.
#[derive(Debug, Serialize)]
struct VerdictFailure {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<UnlockState>,
    code: FailureCode,
    exit: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Verdict {
    /// Creates the verdict on `processes`, which are in the order of the pipeline.
    pub(crate) fn new(processes: &[&Process], end: &EndState) -> Self {
        let labels = status::labels(processes);
        let root_cause = root_cause::find_root_cause(processes, end.by_arrival);
        let mut verdict = Self {
            v: 1,
            run: end.run.clone().or_else(|| status::latest_run(processes)),
            state: UnlockState::Error,
            exit: 0,
            text: String::new(),
            cause: None,
            stopped: Vec::new(),
            also: Vec::new(),
            stages: status::summarize(processes, true),
            seconds: end.seconds.or_else(|| seconds(processes)),
            command: end.command,
            lost: end.lost,
        };
        match root_cause {
            Some(found) if is_stop(&found, end) => verdict.stopped_by_signal(&found, &labels, end),
            Some(found) if end.recorded && found.kind == FailureKind::Died && status::is_running(found.cause) => {
                verdict.still_running(&found, &labels, processes);
            }
            Some(found) => verdict.failed(&found, &labels, end),
            None => verdict.all_ready(&labels, end),
        }
        verdict
    }

    fn all_ready(&mut self, labels: &Labels<'_>, end: &EndState) {
        let names = labels.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(", ");
        let last_text = end.last_text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let suffix = if labels.is_empty() { "; no stage reported anything" } else { " although every stage was ready" };
        let message;
        (self.exit, message) = match (end.command, end.signal) {
            (Some(status), Some((signal, _))) if status != 0 => {
                (128 + signal as u8, format!("the command ended with {status}{suffix}"))
            }
            (Some(status), None) if status != 0 => {
                (text::exit_code(status), format!("the command ended with {}{suffix}{last_text}", text::status(status)))
            }
            (Some(_), _) if labels.is_empty() => (0, "the command ended with 0; no stage reported anything".into()),
            (None, Some((signal, _))) => (128 + signal as u8, format!("processes were still running{suffix}")),
            (None, None) if labels.is_empty() => match &end.run {
                Some(run) => (ErrorCode::NotFound.exit(), format!("no stage reported anything in run {run}")),
                None => (ErrorCode::NoInput.exit(), "no stage reported anything".into()),
            },
            _ => {
                let signed = labels.iter().filter_map(|(process, _)| process.signed.as_ref());
                let signed = signed.map(|signed| format!("; {}", signed.phrase()));
                let exceptions = labels.iter().flat_map(|(process, _)| &process.exceptions);
                let signed = signed.chain(exceptions.map(|text| format!("; {text}"))).collect::<String>();
                (0, format!("{names}{}{signed}", self.seconds.map(|s| format!(" in {s:.1} s")).unwrap_or_default()))
            }
        };
        if self.exit == 0 {
            self.state = UnlockState::Ready;
            self.text = format!("READY: {message}");
            return;
        }
        let code = match (end.signal, end.command) {
            (Some(_), _) => ErrorCode::Interrupted.into(),
            (None, Some(_)) => FailureCode::Command,
            (None, None) => ErrorCode::NoInput.into(),
        };
        self.text = match end.signal {
            Some((signal, _)) => format!("STOPPED by {}: {message}", text::signal(signal)),
            None => format!("FAILED: {message}"),
        };
        self.cause = Some(VerdictFailure { stage: None, state: None, code, exit: self.exit, message, hint: None });
    }

    fn failed(&mut self, found: &RootCause<'_>, labels: &Labels<'_>, end: &EndState) {
        let mut cause = describe_failure(found.cause, labels, end);
        let place = format!("{} ({})", label(found.cause, labels), found.cause.working);
        // `ReaderGone` is the root cause only if the reader was not a stage. The exit status of the
        // command is then more specific.
        match end.command {
            Some(status) if found.kind == FailureKind::ReaderGone && status != 0 && status != 141 => {
                let last_text = end.last_text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                cause.code = FailureCode::Command;
                cause.exit = text::exit_code(status);
                cause.message =
                    format!("its reader exited and the command ended with {}{last_text}", text::status(status));
                self.text = format!("FAILED after {place}: {}", text::sentence(&cause.message));
            }
            _ => self.text = format!("FAILED in {place}: {}", text::sentence(&cause.message)),
        }
        self.stopped = found.stopped.iter().map(|process| label(process, labels)).collect();
        if !self.stopped.is_empty() {
            self.text.push_str(&format!(" {} stopped because of it.", self.stopped.join(", ")));
        }
        self.also = found.independent.iter().map(|process| describe_failure(process, labels, end)).collect();
        for (process, also) in found.independent.iter().zip(&self.also).take(ALSO_MAX) {
            let place = format!("{} ({})", label(process, labels), process.working);
            self.text.push_str(&format!(" Also in {place}: {}", text::sentence(&also.message)));
        }
        if self.also.len() > ALSO_MAX {
            self.text.push_str(&format!(" And {} more.", self.also.len() - ALSO_MAX));
        }
        if let Some(hint) = &cause.hint {
            self.text.push_str(&format!(" Hint: {}", text::sentence(hint)));
        }
        self.exit = match end.signal {
            Some((signal, _)) => 128 + signal as u8,
            None => cause.exit,
        };
        self.cause = Some(cause);
    }

    fn stopped_by_signal(&mut self, found: &RootCause<'_>, labels: &Labels<'_>, end: &EndState) {
        let signal = end.signal.map_or(0, |(signal, _)| signal);
        let unfinished: Vec<_> =
            labels.iter().filter(|(process, _)| root_cause::failure_kind(process).is_some()).collect();
        let names: Vec<_> =
            unfinished.iter().map(|(process, label)| format!("{label} ({})", process.working)).collect();
        self.stopped = unfinished.iter().map(|(_, label)| label.clone()).collect();
        self.exit = 128 + signal as u8;
        self.text = format!("STOPPED by {}: {} did not end", text::signal(signal), names.join(", "));
        let code = if signal == signal_hook::consts::SIGTERM { ErrorCode::Terminated } else { ErrorCode::Interrupted };
        let mut cause = describe_failure(found.cause, labels, end);
        (cause.code, cause.exit, cause.hint) = (code.into(), self.exit, None);
        cause.message = format!("stopped by {}", text::signal(signal));
        self.cause = Some(cause);
    }

    fn still_running(&mut self, found: &RootCause<'_>, labels: &Labels<'_>, processes: &[&Process]) {
        self.exit = ErrorCode::Temporary.exit();
        self.state = status::overall_state(processes);
        self.stages = status::summarize(processes, false);
        self.seconds = None;
        self.text = format!("RUNNING: {} ({}) has not ended", label(found.cause, labels), found.cause.working);
    }
}

type Labels<'a> = [(&'a Process, String)];

fn label(process: &Process, labels: &Labels<'_>) -> String {
    let found = labels.iter().find(|(other, _)| std::ptr::eq(*other, process));
    found.map_or_else(|| process.stage.to_string(), |(_, label)| label.clone())
}

/// Returns true if the signal, not an earlier failure, ended the run.
fn is_stop(found: &RootCause<'_>, end: &EndState) -> bool {
    let Some((_, events_before)) = end.signal else { return false };
    found.cause.error.as_ref().is_some_and(root_cause::is_stopped_by_signal)
        || found.kind == FailureKind::Died
        || found.cause.last.seq > events_before
}

fn describe_failure(process: &Process, labels: &Labels<'_>, end: &EndState) -> VerdictFailure {
    let (stage, state) = (Some(label(process, labels)), Some(process.working));
    let mut failure = match &process.error {
        None => VerdictFailure { stage, state, ..describe_death(labels, end) },
        Some(error) => VerdictFailure {
            stage,
            state,
            code: FailureCode::Event(error.code.clone()),
            exit: error.exit,
            message: error.message.clone(),
            hint: error.hint.clone(),
        },
    };
    // SIGINT and SIGHUP need no explanation: the user pressed Ctrl-C or closed the terminal.
    if failure.code == ErrorCode::Terminated.into() {
        let hint = "a supervisor, an out-of-memory daemon or a user stopped this stage; run it again";
        failure.hint.get_or_insert_with(|| hint.to_owned());
    }
    let has_been_stopped = process.error.as_ref().is_none_or(root_cause::is_stopped_by_signal);
    if has_been_stopped && process.stage == StageName::Load && process.step == Some(Step::Unpacking.into()) {
        let hint = "the engine received the whole archive and may still load it: check with az-load --present, or run it again";
        failure.hint = Some(hint.into());
    }
    failure
}

/// Describes the failure of a stage without a final line. Every stage can be run again after it was
/// killed, so the exit status is that of a temporary failure. A crash is a bug, which would happen
/// again.
fn describe_death(labels: &Labels<'_>, end: &EndState) -> VerdictFailure {
    let died =
        labels.iter().filter(|(process, _)| root_cause::failure_kind(process) == Some(FailureKind::Died)).count();
    // The status of the command shows the signal only if a single stage died. SIGPIPE is a
    // consequence of another failure.
    let signal = end.command.filter(|_| died == 1).map(|status| status - 128);
    let signal = signal.filter(|signal| (1..=31).contains(signal) && *signal != signal_hook::consts::SIGPIPE);
    let crashed = signal.is_some_and(text::is_crash);
    let message = match signal.map(text::signal) {
        Some(signal) if crashed => format!("crashed by {signal} before its final line"),
        Some(signal) => format!("killed by {signal} before its final line"),
        None => "killed: it ended without a final line".into(),
    };
    let hint = if crashed {
        "this is a bug; please report it"
    } else if end.oom_kills > 0 {
        "the kernel killed a process because of low memory (see dmesg); free some memory, then run it again"
    } else {
        "it ran out of memory, or another process killed it: see dmesg and the journal; then run it again"
    };
    let (code, exit) = if crashed {
        (FailureCode::Crashed, ErrorCode::Bug.exit())
    } else {
        (FailureCode::Killed, ErrorCode::Temporary.exit())
    };
    VerdictFailure { stage: None, state: None, code, exit, message, hint: Some(hint.into()) }
}

/// Returns the time from the first to the last event in seconds.
fn seconds(processes: &[&Process]) -> Option<f64> {
    let first = processes.iter().filter_map(|process| process.first.ms).min()?;
    let last = processes.iter().filter_map(|process| process.last.ms).max()?;
    Some(last.saturating_sub(first) as f64 / 1000.0)
}
