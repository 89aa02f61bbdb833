//! What is known of every process that reported.

use crate::clock;
use crate::event::rank;
use loader_model::{Event, EventError, Unit, UnlockState};
use std::collections::{BTreeMap, BTreeSet};

/// Most processes that are remembered, of all runs together.
const PROCESSES_MAX: usize = 256;
/// Runs of one process each belong together where no more than this lies
/// between them, in milliseconds: without `AZ_RUN` every stage picks its own run.
const TOUCH_MS: u64 = 2000;
/// A point in time: the stamp of an event and its place in what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since 1970; `None` where the stamp was none.
    pub(crate) ms: Option<u64>,
    /// Count of events before.
    pub(crate) seq: u64,
}

/// One process of one stage.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Run that it belongs to.
    pub(crate) run: String,
    /// Number of the input that tells of it.
    input: usize,
    /// Name of the binary.
    pub(crate) stage: String,
    /// Its id, where it told.
    pub(crate) pid: Option<u32>,
    /// Where it stands.
    pub(crate) state: UnlockState,
    /// The last state that was not final.
    pub(crate) working: UnlockState,
    /// What precisely it does.
    pub(crate) step: Option<String>,
    /// How much is done, in `unit`.
    pub(crate) done: Option<u64>,
    /// How much there is, in `unit`.
    pub(crate) total: Option<u64>,
    /// What `done` and `total` count.
    pub(crate) unit: Unit,
    /// Why it failed.
    pub(crate) error: Option<EventError>,
    /// Its first event.
    pub(crate) first: Moment,
    /// Its last event, or when it was last seen alive.
    pub(crate) last: Moment,
    /// When it was seen to be gone without a final line.
    pub(crate) gone: Option<Moment>,
    /// True where it runs on this machine under the id that it told.
    pub(crate) local: bool,
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A process reported for the first time.
    Started,
    /// It came to another state.
    State,
    /// It said more about its state.
    Step,
    /// It counted.
    Progress,
}

/// All processes, in the order of their first events.
#[derive(Debug, Default)]
pub(crate) struct Board {
    processes: Vec<Process>,
    seq: u64,
    /// Events of processes that there was no room for.
    pub(crate) ignored: u64,
    /// Processes are looked up on this machine.
    probe: bool,
}

impl Board {
    /// An empty board; with `probe` processes are looked up on this machine, to
    /// learn when those died that tell nothing.
    pub(crate) fn new(probe: bool) -> Self {
        Self { probe, ..Self::default() }
    }

    /// Enters `event` of the input with this number; the process it belongs to and what
    /// it changed, or `None` where there is no room or the process has ended before.
    pub(crate) fn take(&mut self, event: Event, input: usize) -> Option<(&Process, Change)> {
        self.seq += 1;
        let now = Moment { ms: clock::millis(&event.ts), seq: self.seq };
        let plain_idle = event.state == UnlockState::Idle && event.step.is_none() && event.done.is_none();
        let known = self
            .processes
            .iter()
            .rposition(|process| process.run == event.run && process.stage == event.stage && process.pid == event.pid);
        let (at, change) = match known {
            // A second `idle` is another process under the same id, or without one.
            Some(at) if !(plain_idle && self.processes[at].state != UnlockState::Idle) => {
                let process = &self.processes[at];
                if process.state.is_final() {
                    return None;
                }
                let change = match () {
                    () if process.state != event.state => Change::State,
                    () if event.step.is_some() => Change::Step,
                    () => Change::Progress,
                };
                (at, change)
            }
            known => {
                // The id is another process's now, so that the first one is gone.
                if let (Some(at), Some(_)) = (known, event.pid) {
                    self.processes[at].gone.get_or_insert(now);
                }
                (self.start(&event, input, now)?, Change::Started)
            }
        };
        if event.state == UnlockState::Error && self.probe {
            self.look_up(now, |other, _| other != at);
        }
        let process = &mut self.processes[at];
        process.last = now;
        process.gone = None;
        process.state = event.state;
        if !event.state.is_final() {
            process.working = event.state;
        }
        // What a stage was at when it failed says more than that it failed.
        if event.state != UnlockState::Error {
            process.step = event.step;
        }
        process.done = event.done.or(process.done);
        let unit = event.unit.unwrap_or(process.unit);
        // How many layers there are says nothing of bytes.
        process.total = event.total.or(process.total.filter(|_| unit == process.unit));
        process.unit = unit;
        process.error = event.error;
        Some((&self.processes[at], change))
    }

    /// A new process; `None` where the board is full of others.
    fn start(&mut self, event: &Event, input: usize, now: Moment) -> Option<usize> {
        if self.processes.len() >= PROCESSES_MAX {
            let newest = self.newest_run();
            let of_others = |process: &Process| Some(process.run.as_str()) != newest && process.run != event.run;
            let others = self.processes.iter().enumerate().filter(|(_, process)| of_others(process));
            let spare = others
                .min_by_key(|(_, process)| (process.first.ms, process.first.seq))
                .map(|(at, _)| at)
                .or_else(|| self.processes.iter().position(|process| self.is_superseded(process)))
                .or_else(|| self.processes.iter().position(|process| process.state == UnlockState::Ready));
            match spare {
                Some(at) => drop(self.processes.remove(at)),
                None => {
                    self.ignored += 1;
                    return None;
                }
            }
        }
        if self.probe {
            // Whether it is the same stage run again, or beside one that still works.
            self.look_up(now, |_, process| process.stage == event.stage);
        }
        self.processes.push(Process {
            run: event.run.clone(),
            input,
            stage: event.stage.clone(),
            pid: event.pid,
            state: event.state,
            working: UnlockState::Idle,
            step: None,
            done: None,
            total: None,
            unit: Unit::Bytes,
            error: None,
            first: now,
            last: now,
            gone: None,
            local: self.probe && event.pid.is_some_and(|pid| is_alive(pid, &event.stage)),
        });
        Some(self.processes.len() - 1)
    }

    /// Looks up the processes that `concerns` accepts: one that is gone without a final line
    /// died before `now`.
    fn look_up(&mut self, now: Moment, concerns: impl Fn(usize, &Process) -> bool) {
        for (at, process) in self.processes.iter_mut().enumerate() {
            let wanted = process.local && !process.state.is_final() && concerns(at, process);
            let Some(pid) = process.pid.filter(|_| wanted) else { continue };
            if is_alive(pid, &process.stage) {
                process.last = now;
            } else {
                process.gone = process.gone.or(Some(now));
            }
        }
    }

    /// True where a stage is still there that has not told its end.
    pub(crate) fn anyone_works(&self) -> bool {
        let works = |process: &Process| process.pid.is_some_and(|pid| is_alive(pid, &process.stage));
        self.processes.iter().any(|process| process.local && !process.state.is_final() && works(process))
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.seq
    }

    /// The run that started last. An input only grows, so that a run which another
    /// follows in it is not the one, whatever the clock said; then stamps decide.
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
        // The order of the lines decides where stamps are equal or none.
        starts.into_iter().max_by_key(|(run, first)| (!followed.contains(run), first.ms, first.seq)).map(|(run, _)| run)
    }

    /// The processes to judge, in the order of the pipeline: those of `run`, or
    /// those of the newest one. Of a stage that was run again, the newest.
    pub(crate) fn select(&self, run: Option<&str>) -> Vec<&Process> {
        let runs = match run {
            Some(run) => vec![run],
            None => self.newest_runs(),
        };
        self.ordered(|process| runs.contains(&process.run.as_str()))
    }

    /// The same for all runs together.
    pub(crate) fn select_all(&self) -> Vec<&Process> {
        self.ordered(|_| true)
    }

    /// `chosen` with the processes that failed with `status`, or were killed if it is that of a
    /// signal, before their stages were run again.
    pub(crate) fn with_failed_before<'b>(&'b self, chosen: &[&'b Process], status: i32) -> Vec<&'b Process> {
        let failed = |process: &&Process| match &process.error {
            Some(error) => i32::from(error.exit) == status,
            None => process.state != UnlockState::Ready && status > 128,
        };
        let before = self.processes.iter().filter(failed).filter(|process| self.is_superseded(process));
        let mut all: Vec<_> = chosen.iter().copied().chain(before).collect();
        sort(&mut all);
        all
    }

    fn ordered(&self, belongs: impl Fn(&Process) -> bool) -> Vec<&Process> {
        let mut chosen: Vec<_> = self.processes.iter().filter(|process| belongs(process)).collect();
        let all = chosen.clone();
        chosen.retain(|process| !all.iter().any(|other| supersedes(other, process)));
        sort(&mut chosen);
        chosen
    }

    /// The newest run, with the runs that touch it where each has one process.
    fn newest_runs(&self) -> Vec<&str> {
        let Some(newest) = self.newest_run() else { return Vec::new() };
        let mut alone: BTreeMap<&str, Option<(u64, u64)>> = BTreeMap::new();
        for process in &self.processes {
            let span = process.first.ms.zip(process.last.ms);
            alone.entry(&process.run).and_modify(|only| *only = None).or_insert(span);
        }
        let mut runs = vec![newest];
        let Some((mut start, mut end)) = alone.remove(newest).flatten() else { return runs };
        alone.retain(|_, span| span.is_some());
        loop {
            let touching = alone.iter().find_map(|(run, span)| {
                let (first, last) = (*span)?;
                let touches = first <= end.saturating_add(TOUCH_MS) && start <= last.saturating_add(TOUCH_MS);
                touches.then_some((*run, first, last))
            });
            let Some((run, first, last)) = touching else { return runs };
            alone.remove(run);
            runs.push(run);
            (start, end) = (start.min(first), end.max(last));
        }
    }

    fn is_superseded(&self, process: &Process) -> bool {
        self.processes.iter().any(|other| supersedes(other, process))
    }
}

/// In the order of the pipeline.
fn sort(processes: &mut [&Process]) {
    processes.sort_by_key(|process| (rank(&process.stage), process.first.seq));
}

/// True if `newer` is the same stage, run again after `older` had ended. One that is silent has
/// ended only if it was seen to be gone: else two may have run side by side, and one was killed.
fn supersedes(newer: &Process, older: &Process) -> bool {
    let gone = older.gone.is_some_and(|gone| gone.seq <= newer.first.seq);
    newer.stage == older.stage && newer.first.seq > older.last.seq && (older.state.is_final() || gone)
}

/// True where the process `pid` of this machine runs the program `stage`.
pub(crate) fn is_alive(pid: u32, stage: &str) -> bool {
    // "PID (NAME) STATE ...", the name cut at 15 bytes; a zombie is gone.
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let stat = String::from_utf8_lossy(&stat);
    let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
    let name = head.split_once(" (").map_or("", |(_, name)| name);
    name == stage.get(..15).unwrap_or(stage) && !tail.starts_with(['Z', 'X'])
}
