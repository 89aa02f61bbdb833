//! Where the whole unlock stands, and the status file that tells it.

use crate::board::{self, Process};
use crate::clock;
use crate::judge;
use crate::verdict::Verdict;
use loader_model::{Unit, UnlockState, json_line};
use serde::{Serialize, Serializer};
use std::time::SystemTime;

/// The state of the whole while it lasts: `error` as soon as a first cause is
/// known, else the most advanced working state. `ready` is known only at the
/// end, since another stage may still start.
pub(crate) fn standing(processes: &[&Process]) -> UnlockState {
    let known = processes.iter().filter_map(|process| process.error.as_ref()).any(|error| !judge::is_dependent(error));
    if known {
        return UnlockState::Error;
    }
    let advanced = processes.iter().map(|process| process.working).max_by_key(|state| *state as u8);
    advanced.unwrap_or(UnlockState::Idle)
}

/// A name for each process: its stage, with `#2` and so on where a stage runs
/// several times at once.
pub(crate) fn labels<'a>(processes: &[&'a Process]) -> Vec<(&'a Process, String)> {
    let label = |(at, process): (usize, &&'a Process)| {
        let before = processes[..at].iter().filter(|other| other.stage == process.stage).count();
        let name = if before == 0 { process.stage.clone() } else { format!("{}#{}", process.stage, before + 1) };
        (*process, name)
    };
    processes.iter().enumerate().map(label).collect()
}

/// The run of the process that started last.
pub(crate) fn run_of(processes: &[&Process]) -> Option<String> {
    processes.iter().max_by_key(|process| process.first.seq).map(|process| process.run.clone())
}

/// True where the process still runs on this machine.
pub(crate) fn is_running(process: &Process) -> bool {
    process.pid.is_some_and(|pid| board::is_alive(pid, &process.stage))
}

/// Stages by their label, in the order of the pipeline.
#[derive(Debug)]
pub(crate) struct Stages(Vec<(String, StageReport)>);

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, report)| (label, report)))
    }
}

/// One stage as programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct StageReport {
    state: UnlockState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// Exit status; known only of a stage with a final line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<u8>,
    /// Code of the error, or `killed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

impl StageReport {
    /// `process` as it stands; with `ended` one without a final line was killed.
    pub(crate) fn new(process: &Process, ended: bool) -> Self {
        let error = process.error.as_ref();
        let killed = ended && !process.state.is_final();
        Self {
            state: process.state,
            pid: process.pid,
            step: process.step.clone(),
            done: process.done,
            total: process.total,
            unit: process.done.or(process.total).map(|_| process.unit),
            exit: match process.state {
                UnlockState::Ready => Some(0),
                _ => error.map(|error| error.exit),
            },
            code: error.map(|error| error.code.clone()).or_else(|| killed.then(|| "killed".to_owned())),
            message: error.map(|error| error.message.clone()),
        }
    }
}

/// The stages of `processes`.
pub(crate) fn stages(processes: &[&Process], ended: bool) -> Stages {
    let labels = labels(processes);
    Stages(labels.into_iter().map(|(process, label)| (label, StageReport::new(process, ended))).collect())
}

#[derive(Serialize)]
struct StatusFile<'a> {
    v: u32,
    run: Option<String>,
    state: UnlockState,
    stages: Stages,
    updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
}

/// The content of the status file: one JSON object and a newline. `run` stands
/// in where no process told its own; `exit` and `verdict` come with the end.
pub(crate) fn status_file(
    processes: &[&Process],
    run: Option<&str>,
    verdict: Option<&Verdict>,
    now: SystemTime,
) -> Vec<u8> {
    let file = StatusFile {
        v: 1,
        run: run_of(processes).or_else(|| run.map(str::to_owned)),
        state: verdict.map_or_else(|| standing(processes), |verdict| verdict.state),
        stages: stages(processes, verdict.is_some_and(|verdict| verdict.state.is_final())),
        updated: clock::stamp(now),
        exit: verdict.map(|verdict| verdict.exit),
        verdict: verdict.map(|verdict| verdict.text.as_str()),
    };
    json_line(&file).unwrap_or_default()
}
