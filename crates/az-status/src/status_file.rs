//! The status file, a JSON document for programs that poll it.

use crate::clock;
use crate::processes::Process;
use crate::status::{self, StageSummaries};
use crate::verdict::Verdict;
use loader_model::{UnlockState, json_line};
use serde::Serialize;
use std::time::SystemTime;

#[derive(Serialize)]
struct StatusFile<'a> {
    v: u32,
    run: Option<String>,
    state: UnlockState,
    stages: StageSummaries,
    updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
}

/// Returns the content of the status file: a JSON object with a newline. It contains
/// `run` until a process has reported its run. The fields `exit` and `verdict` are present only if there is a `verdict`.
pub(crate) fn render(processes: &[&Process], run: Option<&str>, verdict: Option<&Verdict>, now: SystemTime) -> Vec<u8> {
    let file = StatusFile {
        v: 1,
        run: status::latest_run(processes).or_else(|| run.map(str::to_owned)),
        state: verdict.map_or_else(|| status::overall_state(processes), |verdict| verdict.state),
        stages: status::summarize(processes, verdict.is_some_and(|verdict| verdict.state.is_final())),
        updated: clock::timestamp(now),
        exit: verdict.map(|verdict| verdict.exit),
        verdict: verdict.map(|verdict| verdict.text.as_str()),
    };
    json_line(&file).unwrap_or_default()
}
