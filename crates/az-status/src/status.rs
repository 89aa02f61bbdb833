//! The state of the whole unlock and of its stages.

use crate::processes::{self, Process};
use crate::release::SignedRelease;
use crate::root_cause;
use loader_model::{ErrorCode, Named, Step, Unit, UnlockState};
use serde::{Serialize, Serializer};

/// Returns the state of the whole unlock while it runs: `error` as soon as a root cause is known,
/// otherwise the most advanced working state. It is never `ready`, since another stage may still
/// start.
pub(crate) fn overall_state(processes: &[&Process]) -> UnlockState {
    let has_failed =
        processes.iter().filter_map(|process| process.error.as_ref()).any(|error| !root_cause::is_consequence(error));
    if has_failed {
        return UnlockState::Error;
    }
    let most_advanced = processes.iter().map(|process| process.working).max_by_key(|state| *state as u8);
    most_advanced.unwrap_or(UnlockState::Idle)
}

/// Returns a label for each process: its stage, with `#2`, `#3`, … for further processes of the stage.
pub(crate) fn labels<'a>(processes: &[&'a Process]) -> Vec<(&'a Process, String)> {
    let label = |(index, process): (usize, &&'a Process)| {
        let earlier = processes[..index].iter().filter(|other| other.stage == process.stage).count();
        let name = if earlier == 0 { process.stage.to_string() } else { format!("{}#{}", process.stage, earlier + 1) };
        (*process, name)
    };
    processes.iter().enumerate().map(label).collect()
}

/// Returns the run of the process that started last.
pub(crate) fn latest_run(processes: &[&Process]) -> Option<String> {
    processes.iter().max_by_key(|process| process.first.seq).map(|process| process.run.clone())
}

/// Returns true if the process still runs on this machine.
pub(crate) fn is_running(process: &Process) -> bool {
    process.pid.is_some_and(|pid| processes::is_alive(pid, &process.stage))
}

/// Summaries of all stages by label, in the order of the pipeline.
#[derive(Debug)]
pub(crate) struct StageSummaries(Vec<(String, StageSummary)>);

impl Serialize for StageSummaries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, summary)| (label, summary)))
    }
}

/// State of a stage, for JSON output and metrics.
#[derive(Debug, Serialize)]
pub(crate) struct StageSummary {
    state: UnlockState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Named<Step>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<SignedRelease>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// Exit status; `None` for a stage without a final line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<u8>,
    /// Code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<FailureCode>,
    /// Message of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Code of a failure: that of the final event, or one for a process or command without such an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureCode {
    /// A stage ended without a final event.
    Killed,
    /// A stage ended because of a bug, without a final event.
    Crashed,
    /// The command failed.
    Command,
    /// The code of the final event.
    #[serde(untagged)]
    Event(Named<ErrorCode>),
}

impl From<ErrorCode> for FailureCode {
    fn from(code: ErrorCode) -> Self {
        Self::Event(code.into())
    }
}

impl StageSummary {
    /// Summarizes `process`. If the run has `ended`, a process without a final line was killed.
    pub(crate) fn new(process: &Process, ended: bool) -> Self {
        let error = process.error.as_ref();
        let killed = ended && !process.state.is_final();
        Self {
            state: process.state,
            pid: process.pid,
            step: process.step.clone(),
            signed: process.signed.clone(),
            done: process.done,
            total: process.total,
            unit: process.done.or(process.total).map(|_| process.unit),
            exit: match process.state {
                UnlockState::Ready => Some(0),
                _ => error.map(|error| error.exit),
            },
            code: error
                .map(|error| FailureCode::Event(error.code.clone()))
                .or_else(|| killed.then_some(FailureCode::Killed)),
            message: error.map(|error| error.message.clone()),
        }
    }
}

/// Summarizes `processes`.
pub(crate) fn summarize(processes: &[&Process], ended: bool) -> StageSummaries {
    let labels = labels(processes);
    StageSummaries(labels.into_iter().map(|(process, label)| (label, StageSummary::new(process, ended))).collect())
}
