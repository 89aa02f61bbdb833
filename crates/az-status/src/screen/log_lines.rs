//! Short text lines, for logs.

use crate::processes::{Change, Process};
use indicatif::HumanBytes;
use loader_model::{Unit, UnlockState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Minimum time between two progress lines of a process, to keep logs short.
const INTERVAL: Duration = Duration::from_secs(10);

/// Text lines with limited progress output.
#[derive(Default)]
pub(crate) struct LogLines {
    /// Time of the last progress line of each process.
    last: BTreeMap<u64, Instant>,
}

impl LogLines {
    /// Returns the line for a change, with its newline; `None` for a change that is not shown.
    pub(crate) fn line(&mut self, process: &Process, change: Change) -> Option<String> {
        let key = process.first.seq;
        if process.state.is_final() {
            self.last.remove(&key);
        } else if change == Change::Progress {
            let last = self.last.entry(key).or_insert_with(Instant::now);
            if last.elapsed() < INTERVAL {
                return None;
            }
            *last = Instant::now();
        }
        let stage = &process.stage;
        let amount = amount(process).map(|amount| format!(", {amount}")).unwrap_or_default();
        match (process.state, &process.step) {
            (UnlockState::Error, _) => Some(error(process)),
            (UnlockState::Ready, _) => Some(format!("{stage}: ready{amount}\n")),
            (UnlockState::Idle, None) if process.done.is_none() => None,
            (UnlockState::Idle, Some(step)) => Some(format!("{stage}: {step}{amount}\n")),
            (state, Some(step)) => Some(format!("{stage}: {state}: {step}{amount}\n")),
            (state, None) => Some(format!("{stage}: {state}{amount}\n")),
        }
    }
}

/// Returns the line for a failure.
pub(crate) fn error(process: &Process) -> String {
    let error = process.error.as_ref();
    let message = error.map_or("error", |error| &error.message);
    let hint = error.and_then(|error| error.hint.as_ref()).map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}: {message}{hint}\n", process.stage)
}

/// Returns the completed and the total amount, and the rate.
fn amount(process: &Process) -> Option<String> {
    let done = process.done?;
    if process.unit == Unit::Layers {
        let total = process.total.map(|total| format!(" of {total}")).unwrap_or_default();
        return Some(format!("{done}{total} layers"));
    }
    let total = process.total.filter(|total| *total > 0 && !process.state.is_final());
    let of_total = total.map(|total| {
        let percent = u128::from(done.min(total)) * 100 / u128::from(total);
        format!(" of {} ({percent} %)", HumanBytes(total))
    });
    let elapsed = process.last.ms.zip(process.first.ms).map(|(last, first)| last.saturating_sub(first));
    let rate = elapsed.filter(|ms| *ms >= 500).map(|ms| {
        let per_second = u128::from(done) * 1000 / u128::from(ms);
        format!(", {}/s", HumanBytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
    });
    Some(format!("{}{}{}", HumanBytes(done), of_total.unwrap_or_default(), rate.unwrap_or_default()))
}
