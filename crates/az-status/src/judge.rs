//! Which failure came first.
//!
//! A stage ends with its own error, or because a neighbour did. Every stage
//! writes its final line before it closes its pipes, so a cause is told before
//! its consequences; the exceptions are a reader that is gone (told by the stage
//! before, perhaps earlier than the one that left) and a stage that was killed,
//! which tells nothing at all.

use crate::board::{Moment, Process};
use crate::event::rank;
use loader_model::{ErrorCode, EventError, UnlockState};

/// How a stage did not become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No final line.
    Gone,
    /// An error that no neighbour can bring about.
    Own,
    /// Bad data: its own trouble, or what a stage before left half done.
    Data,
    /// Nobody read its output any more.
    ReaderGone,
    /// The failure of another stage, told once more.
    Hearsay,
}

/// What a set of processes amounts to.
#[derive(Debug)]
pub(crate) struct Judgement<'a> {
    /// The first cause.
    pub(crate) cause: &'a Process,
    /// How it failed.
    pub(crate) kind: Kind,
    /// Those that stopped because of it.
    pub(crate) stopped: Vec<&'a Process>,
    /// Those that failed for reasons of their own.
    pub(crate) also: Vec<&'a Process>,
}

/// How `process` failed; `None` where it is ready.
pub(crate) fn kind(process: &Process) -> Option<Kind> {
    match (&process.error, process.state) {
        (_, UnlockState::Ready) => None,
        (Some(error), _) if error.code == ErrorCode::ReaderGone.as_str() => Some(Kind::ReaderGone),
        (Some(error), _) if error.exit == ErrorCode::Malformed.exit() => Some(Kind::Data),
        (Some(_), _) => Some(Kind::Own),
        (None, _) => Some(Kind::Gone),
    }
}

/// True where the error can follow from another stage's.
pub(crate) fn is_dependent(error: &EventError) -> bool {
    [ErrorCode::NoInput, ErrorCode::ReaderGone, ErrorCode::Truncated].iter().any(|code| code.as_str() == error.code)
}

/// True where a signal ended the stage, and it could say so.
pub(crate) fn is_told_to_stop(error: &EventError) -> bool {
    [ErrorCode::Interrupted, ErrorCode::Terminated, ErrorCode::HungUp].iter().any(|code| code.as_str() == error.code)
}

/// The first cause among `processes`; `None` where all are ready. With
/// `by_arrival` the order of the lines counts, else the stamps: lines of one
/// pipe arrive in order whatever the clock does, those of several files do not.
pub(crate) fn judge<'a>(processes: &[&'a Process], by_arrival: bool) -> Option<Judgement<'a>> {
    let key = |moment: Moment| (if by_arrival { 0 } else { moment.ms.unwrap_or(u64::MAX) }, moment.seq);
    let kind_of = |process: &Process| if is_hearsay(process, processes) { Some(Kind::Hearsay) } else { kind(process) };
    let failed: Vec<_> = processes.iter().filter_map(|process| Some((*process, kind_of(process)?))).collect();
    let earliest = |wanted: &dyn Fn(&Process, Kind) -> bool| {
        failed
            .iter()
            .filter(|(process, kind)| wanted(process, *kind))
            .min_by_key(|(process, kind)| {
                let (ms, seq) = key(process.gone.unwrap_or(process.last));
                // Where moments are equal a cause goes before a consequence.
                (if by_arrival { seq } else { ms }, *kind, seq)
            })
            .copied()
    };
    let told = earliest(&|process, kind| match kind {
        Kind::Gone => process.gone.is_some(),
        Kind::ReaderGone | Kind::Hearsay => false,
        Kind::Own | Kind::Data => true,
    });
    let silent = earliest(&|process, kind| kind == Kind::Gone && process.gone.is_none());
    let (cause, kind) = match (told, silent) {
        // Nobody knows when a silent stage died. It explains bad data after it,
        // and a reader that is gone, but no error of another stage's own.
        (Some((first, Kind::Data)), Some((dead, _)))
            if rank(&dead.stage) < rank(&first.stage) && key(dead.last) <= key(first.last) =>
        {
            (dead, Kind::Gone)
        }
        (Some(first), _) => first,
        (None, Some(dead)) => dead,
        (None, None) => earliest(&|_, _| true)?,
    };
    let others = failed.iter().filter(|(process, _)| !std::ptr::eq(*process, cause));
    let (stopped, also): (Vec<_>, Vec<_>) =
        others.partition(|(process, kind)| *kind == Kind::Hearsay || follows(process, cause));
    let bare = |list: Vec<&(&'a Process, Kind)>| list.into_iter().map(|(process, _)| *process).collect();
    Some(Judgement { cause, kind, stopped: bare(stopped), also: bare(also) })
}

/// True where the message of `process` begins with the name of another stage that
/// failed, as in `az-decrypt failed: ...`: az-load looks at the stage before it,
/// and takes over its code.
fn is_hearsay(process: &Process, processes: &[&Process]) -> bool {
    let Some(error) = &process.error else { return false };
    let word = error.message.split(' ').next().unwrap_or_default().trim_end_matches(':');
    let name = word.rsplit('/').next().unwrap_or(word);
    processes.iter().any(|other| other.stage == name && other.stage != process.stage && kind(other).is_some())
}

/// True where the failure of `process` can be a consequence of `cause`.
fn follows(process: &Process, cause: &Process) -> bool {
    let Some(error) = &process.error else { return false };
    let bad_data = kind(process) == Some(Kind::Data) && rank(&process.stage) > rank(&cause.stage);
    is_dependent(error) || is_told_to_stop(error) || bad_data
}
