//! The processes that have reported events.

use crate::clock;
use crate::event::pipeline_position;
use crate::release::{SignedRelease, exception};
use loader_model::{Event, EventError, Named, StageName, Step, Unit, UnlockState};
use std::collections::{BTreeMap, BTreeSet};

/// Largest number of processes that are remembered, of all runs together.
const PROCESSES_MAX: usize = 256;
/// Largest gap in milliseconds between runs that belong together, if each has only one process:
/// without `AZ_RUN` each stage generates a run of its own.
const RUN_GAP_MAX_MS: u64 = 2000;

/// A point in time: the timestamp of an event, and its position among all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since 1970; `None` if the timestamp cannot be parsed.
    pub(crate) ms: Option<u64>,
    /// Position among all events, from 1.
    pub(crate) seq: u64,
}

/// A process of a stage.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// The run it belongs to.
    pub(crate) run: String,
    /// Number of the input with its events.
    input: usize,
    /// Name of the program.
    pub(crate) stage: Named<StageName>,
    /// Process id, if its events contain one.
    pub(crate) pid: Option<u32>,
    /// Current state.
    pub(crate) state: UnlockState,
    /// Last state that was not final.
    pub(crate) working: UnlockState,
    /// Current step.
    pub(crate) step: Option<Named<Step>>,
    /// Signed release that it has verified.
    pub(crate) signed: Option<SignedRelease>,
    /// Exceptions from the policy that it has made.
    pub(crate) exceptions: Vec<&'static str>,
    /// Completed amount, in `unit`.
    pub(crate) done: Option<u64>,
    /// Total amount, in `unit`.
    pub(crate) total: Option<u64>,
    /// Unit of `done` and `total`.
    pub(crate) unit: Unit,
    /// Error that it reported.
    pub(crate) error: Option<EventError>,
    /// Time of the first event.
    pub(crate) first: Moment,
    /// Time of the last event, or when the process was last seen alive.
    pub(crate) last: Moment,
    /// When the process was found to have died without a final line.
    pub(crate) died: Option<Moment>,
    /// True if it runs on this machine under its process id.
    pub(crate) is_local: bool,
}

/// Kind of change that an event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first event of a process.
    Started,
    /// A new state.
    State,
    /// A new step in the same state.
    Step,
    /// New amounts.
    Progress,
}

/// All processes, in the order of their first events.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    processes: Vec<Process>,
    /// Number of events.
    seq: u64,
    /// Number of events dropped because too many processes reported.
    pub(crate) dropped: u64,
    /// True if processes are looked up on this machine.
    probes: bool,
}

impl Processes {
    /// Returns an empty list. With `probes`, processes are looked up on this machine, to find when one
    /// dies without a final line.
    pub(crate) fn new(probes: bool) -> Self {
        Self { probes, ..Self::default() }
    }

    /// Adds an event of the input number `input`. Returns its process and the kind of change; `None`
    /// if the process has already ended, or there are too many processes.
    pub(crate) fn add(&mut self, event: Event, input: usize) -> Option<(&Process, Change)> {
        self.seq += 1;
        let now = Moment { ms: clock::millis(&event.ts), seq: self.seq };
        let is_start = event.state == UnlockState::Idle && event.step.is_none() && event.done.is_none();
        let known = self
            .processes
            .iter()
            .rposition(|process| process.run == event.run && process.stage == event.stage && process.pid == event.pid);
        let (at, change) = match known {
            // A second `idle` is from another process, with the same id or without one.
            Some(at) if !(is_start && self.processes[at].state != UnlockState::Idle) => {
                let process = &self.processes[at];
                if process.state.is_final() {
                    return None;
                }
                let change = if process.state != event.state {
                    Change::State
                } else if event.step.is_some() {
                    Change::Step
                } else {
                    Change::Progress
                };
                (at, change)
            }
            known => {
                // A new process has this id, so the earlier one has died.
                if let (Some(at), Some(_)) = (known, event.pid) {
                    self.processes[at].died.get_or_insert(now);
                }
                (self.start(&event, input, now)?, Change::Started)
            }
        };
        if event.state == UnlockState::Error && self.probes {
            self.probe(now, |other, _| other != at);
        }
        let process = &mut self.processes[at];
        process.last = now;
        process.died = None;
        process.state = event.state;
        if !event.state.is_final() {
            process.working = event.state;
        }
        process.exceptions.extend(exception(&event).filter(|text| !process.exceptions.contains(text)));
        process.signed = SignedRelease::of(&event).or(process.signed.take());
        // The step during which a stage failed is kept.
        if event.state != UnlockState::Error {
            process.step = event.step;
        }
        process.done = event.done.or(process.done);
        let unit = event.unit.unwrap_or(process.unit);
        // A total of layers is not a total of bytes.
        process.total = event.total.or(process.total.filter(|_| unit == process.unit));
        process.unit = unit;
        process.error = event.error;
        Some((&self.processes[at], change))
    }

    /// Adds a process; `None` if there are too many.
    fn start(&mut self, event: &Event, input: usize, now: Moment) -> Option<usize> {
        if self.processes.len() >= PROCESSES_MAX {
            let newest = self.newest_run();
            let is_unrelated = |process: &Process| Some(process.run.as_str()) != newest && process.run != event.run;
            let unrelated = self.processes.iter().enumerate().filter(|(_, process)| is_unrelated(process));
            let replaceable = unrelated
                .min_by_key(|(_, process)| (process.first.ms, process.first.seq))
                .map(|(at, _)| at)
                .or_else(|| self.processes.iter().position(|process| self.is_superseded(process)))
                .or_else(|| self.processes.iter().position(|process| process.state == UnlockState::Ready));
            match replaceable {
                Some(at) => drop(self.processes.remove(at)),
                None => {
                    self.dropped += 1;
                    return None;
                }
            }
        }
        if self.probes {
            // Determines whether the stage was restarted or an earlier process runs concurrently.
            self.probe(now, |_, process| process.stage == event.stage);
        }
        self.processes.push(Process {
            run: event.run.clone(),
            input,
            stage: event.stage.clone(),
            pid: event.pid,
            state: event.state,
            working: UnlockState::Idle,
            step: None,
            signed: None,
            exceptions: Vec::new(),
            done: None,
            total: None,
            unit: Unit::Bytes,
            error: None,
            first: now,
            last: now,
            died: None,
            is_local: self.probes && event.pid.is_some_and(|pid| is_alive(pid, &event.stage)),
        });
        Some(self.processes.len() - 1)
    }

    /// Looks up the processes that `concerns` accepts; one that no longer exists and has no final line
    /// died before `now`.
    fn probe(&mut self, now: Moment, concerns: impl Fn(usize, &Process) -> bool) {
        for (at, process) in self.processes.iter_mut().enumerate() {
            let is_wanted = process.is_local && !process.state.is_final() && concerns(at, process);
            let Some(pid) = process.pid.filter(|_| is_wanted) else { continue };
            if is_alive(pid, &process.stage) {
                process.last = now;
            } else {
                process.died = process.died.or(Some(now));
            }
        }
    }

    /// Returns true if a process of any stage still runs.
    pub(crate) fn is_any_running(&self) -> bool {
        let is_running = |process: &Process| process.pid.is_some_and(|pid| is_alive(pid, &process.stage));
        self.processes.iter().any(|process| process.is_local && !process.state.is_final() && is_running(process))
    }

    /// Returns the number of events.
    pub(crate) fn events(&self) -> u64 {
        self.seq
    }

    /// Returns the run that started last. A run that is followed by another one in the same input is
    /// never the last one, even if its timestamps are later. Among the others the timestamps decide.
    pub(crate) fn newest_run(&self) -> Option<&str> {
        let mut starts: BTreeMap<&str, Moment> = BTreeMap::new();
        let mut seen: BTreeSet<(usize, &str)> = BTreeSet::new();
        let mut last_of: BTreeMap<usize, &str> = BTreeMap::new();
        let mut followed: BTreeSet<&str> = BTreeSet::new();
        for process in &self.processes {
            let run = process.run.as_str();
            starts.entry(run).or_insert(process.first);
            if seen.insert((process.input, run)) {
                followed.extend(last_of.insert(process.input, run));
            }
        }
        // The order of the lines decides if timestamps are equal or missing.
        starts.into_iter().max_by_key(|(run, first)| (!followed.contains(run), first.ms, first.seq)).map(|(run, _)| run)
    }

    /// Returns the processes of `run`, or of the newest run, in the order of the pipeline; without
    /// those of stages that were restarted.
    pub(crate) fn select(&self, run: Option<&str>) -> Vec<&Process> {
        let runs = match run {
            Some(run) => vec![run],
            None => self.newest_runs(),
        };
        self.current(|process| runs.contains(&process.run.as_str()))
    }

    /// Like [`Processes::select`], for all runs together.
    pub(crate) fn select_all(&self) -> Vec<&Process> {
        self.current(|_| true)
    }

    /// Returns `selected` with the processes that failed with `status` before their stages were
    /// restarted, and the killed ones if `status` is that of a signal.
    pub(crate) fn with_failed_attempts<'b>(&'b self, selected: &[&'b Process], status: i32) -> Vec<&'b Process> {
        let failed = |process: &&Process| match &process.error {
            Some(error) => i32::from(error.exit) == status,
            None => process.state != UnlockState::Ready && status > 128,
        };
        let attempts = self.processes.iter().filter(failed).filter(|process| self.is_superseded(process));
        let mut all: Vec<_> = selected.iter().copied().chain(attempts).collect();
        sort(&mut all);
        all
    }

    fn current(&self, belongs: impl Fn(&Process) -> bool) -> Vec<&Process> {
        let mut selected: Vec<_> = self.processes.iter().filter(|process| belongs(process)).collect();
        let all = selected.clone();
        selected.retain(|process| !all.iter().any(|other| supersedes(other, process)));
        sort(&mut selected);
        selected
    }

    /// Returns the newest run, and the runs next to it if each has only one process.
    fn newest_runs(&self) -> Vec<&str> {
        let Some(newest) = self.newest_run() else { return Vec::new() };
        let mut single: BTreeMap<&str, Option<(u64, u64)>> = BTreeMap::new();
        for process in &self.processes {
            let span = process.first.ms.zip(process.last.ms);
            single.entry(&process.run).and_modify(|only| *only = None).or_insert(span);
        }
        let mut runs = vec![newest];
        let Some((mut start, mut end)) = single.remove(newest).flatten() else { return runs };
        single.retain(|_, span| span.is_some());
        loop {
            let adjacent = single.iter().find_map(|(run, span)| {
                let (first, last) = (*span)?;
                let is_adjacent =
                    first <= end.saturating_add(RUN_GAP_MAX_MS) && start <= last.saturating_add(RUN_GAP_MAX_MS);
                is_adjacent.then_some((*run, first, last))
            });
            let Some((run, first, last)) = adjacent else { return runs };
            single.remove(run);
            runs.push(run);
            (start, end) = (start.min(first), end.max(last));
        }
    }

    fn is_superseded(&self, process: &Process) -> bool {
        self.processes.iter().any(|other| supersedes(other, process))
    }
}

/// Sorts in the order of the pipeline.
fn sort(processes: &mut [&Process]) {
    processes.sort_by_key(|process| (pipeline_position(&process.stage), process.first.seq));
}

/// Returns true if `newer` is a restart of the stage after `older` had ended. A process without a
/// final line has ended only if it was found to have died; otherwise both ran concurrently, and
/// one was killed.
fn supersedes(newer: &Process, older: &Process) -> bool {
    let has_died = older.died.is_some_and(|died| died.seq <= newer.first.seq);
    newer.stage == older.stage && newer.first.seq > older.last.seq && (older.state.is_final() || has_died)
}

/// Returns true if the process `pid` of this machine runs the program `stage`.
pub(crate) fn is_alive(pid: u32, stage: &Named<StageName>) -> bool {
    // "PID (NAME) STATE ..." with at most 15 bytes of the name. A zombie has ended.
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let stat = String::from_utf8_lossy(&stat);
    let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
    let name = head.split_once(" (").map_or("", |(_, name)| name);
    let stage = stage.as_str();
    name == stage.get(..15).unwrap_or(stage) && !tail.starts_with(['Z', 'X'])
}
