//! Finds the failure that came first.
//!
//! A stage fails by itself, or because another stage failed. Every stage writes its final line before
//! it closes its pipes, so a cause is reported before its consequences. There are two exceptions: a
//! reader that exited (the previous stage may report it before the reader reports its own failure),
//! and a killed stage, which reports nothing.

use crate::event::pipeline_position;
use crate::processes::{Moment, Process};
use loader_model::{ErrorCode, EventError, UnlockState};

/// How a stage failed. Of simultaneous failures, the smaller kind is the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    /// The stage ended without a final line.
    Died,
    /// An error that no other stage can cause.
    OwnError,
    /// Bad data: a fault of the stage or of its input, or incomplete output of the previous stage.
    BadData,
    /// The reader of its output exited.
    ReaderGone,
    /// The stage reports the failure of another stage.
    Propagated,
}

/// The first failure of a set of processes, and the other ones.
#[derive(Debug)]
pub(crate) struct RootCause<'a> {
    pub(crate) cause: &'a Process,
    pub(crate) kind: FailureKind,
    /// Processes that stopped because of the cause.
    pub(crate) stopped: Vec<&'a Process>,
    /// Processes that failed independently.
    pub(crate) independent: Vec<&'a Process>,
}

/// Returns how `process` failed, regardless of the other processes; `None` if it is ready.
pub(crate) fn failure_kind(process: &Process) -> Option<FailureKind> {
    match (&process.error, process.state) {
        (_, UnlockState::Ready) => None,
        (Some(error), _) if error.code == ErrorCode::ReaderGone => Some(FailureKind::ReaderGone),
        (Some(error), _) if error.exit == ErrorCode::Malformed.exit() => Some(FailureKind::BadData),
        (Some(_), _) => Some(FailureKind::OwnError),
        (None, _) => Some(FailureKind::Died),
    }
}

/// Returns true if the failure of another stage can cause this error.
pub(crate) fn is_consequence(error: &EventError) -> bool {
    [ErrorCode::NoInput, ErrorCode::ReaderGone, ErrorCode::Truncated].iter().any(|code| error.code == *code)
}

/// Returns true if the stage reported that a signal stopped it.
pub(crate) fn is_stopped_by_signal(error: &EventError) -> bool {
    [ErrorCode::Interrupted, ErrorCode::Terminated, ErrorCode::HungUp].iter().any(|code| error.code == *code)
}

/// Returns the first failure among `processes`; `None` if all are ready. `by_arrival` compares the
/// positions of the lines instead of the timestamps: lines of one pipe arrive in order even if the
/// clock changes, lines of several files do not.
pub(crate) fn find_root_cause<'a>(processes: &[&'a Process], by_arrival: bool) -> Option<RootCause<'a>> {
    let key = |moment: Moment| (if by_arrival { 0 } else { moment.ms.unwrap_or(u64::MAX) }, moment.seq);
    let seal_kind = |process: &Process| {
        if is_propagated(process, processes) { Some(FailureKind::Propagated) } else { failure_kind(process) }
    };
    let failed: Vec<_> = processes.iter().filter_map(|process| Some((*process, seal_kind(process)?))).collect();
    let earliest = |is_candidate: &dyn Fn(&Process, FailureKind) -> bool| {
        failed
            .iter()
            .filter(|(process, kind)| is_candidate(process, *kind))
            .min_by_key(|(process, kind)| {
                let (ms, seq) = key(process.died.unwrap_or(process.last));
                (if by_arrival { seq } else { ms }, *kind, seq)
            })
            .copied()
    };
    let with_known_time = earliest(&|process, kind| match kind {
        FailureKind::Died => process.died.is_some(),
        FailureKind::ReaderGone | FailureKind::Propagated => false,
        FailureKind::OwnError | FailureKind::BadData => true,
    });
    let died_unseen = earliest(&|process, kind| kind == FailureKind::Died && process.died.is_none());
    let (cause, kind) = match (with_known_time, died_unseen) {
        // The time at which the process died is unknown. Its death explains bad data in a later
        // stage, and a missing reader, but no error that another stage caused itself.
        (Some((first, FailureKind::BadData)), Some((dead, _)))
            if pipeline_position(&dead.stage) < pipeline_position(&first.stage)
                && key(dead.last) <= key(first.last) =>
        {
            (dead, FailureKind::Died)
        }
        (Some(first), _) => first,
        (None, Some(dead)) => dead,
        (None, None) => earliest(&|_, _| true)?,
    };
    let others = failed.iter().filter(|(process, _)| !std::ptr::eq(*process, cause));
    let (stopped, independent): (Vec<_>, Vec<_>) =
        others.partition(|(process, kind)| *kind == FailureKind::Propagated || can_follow(process, cause));
    let processes_of = |list: Vec<&(&'a Process, FailureKind)>| list.into_iter().map(|(process, _)| *process).collect();
    Some(RootCause { cause, kind, stopped: processes_of(stopped), independent: processes_of(independent) })
}

/// Returns true if the event of `process` names another stage as the cause (`error.caused_by`), and
/// that stage failed.
fn is_propagated(process: &Process, processes: &[&Process]) -> bool {
    let Some(stage) = process.error.as_ref().and_then(|error| error.caused_by.as_ref()) else { return false };
    *stage != process.stage && processes.iter().any(|other| other.stage == *stage && failure_kind(other).is_some())
}

/// Returns true if the failure of `process` can be a consequence of that of `cause`.
fn can_follow(process: &Process, cause: &Process) -> bool {
    let Some(error) = &process.error else { return false };
    let is_after = pipeline_position(&process.stage) > pipeline_position(&cause.stage);
    let has_bad_input = failure_kind(process) == Some(FailureKind::BadData) && is_after;
    is_consequence(error) || is_stopped_by_signal(error) || has_bad_input
}
