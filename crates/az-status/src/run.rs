//! Reads the inputs, updates the display and the files, and prints the verdict.

use crate::cli::Cli;
use crate::clock;
use crate::daily_log::DailyLog;
use crate::event;
use crate::input::{EventSource, Message};
use crate::line_reader::RawLine;
use crate::polled_file::PolledFile;
use crate::processes::{Change, Process, Processes};
use crate::prometheus;
use crate::root_cause::failure_kind;
use crate::screen::{Screen, printable_line};
use crate::signals;
use crate::status_file;
use crate::stderr;
use crate::verdict::{EndState, Verdict};
use loader_model::{is_clock_unset, json_line};
use loader_stage::{
    Content, ErrorCode, Failure, OrFailAs, Output, die_by_signal, is_on_command_line, received_signal, stdout_is_open,
};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Maximum number of queued lines; each has at most 64 KiB.
const QUEUE_LINES: usize = 32;
/// Interval of redrawing bars and checking deadlines.
const TICK: Duration = Duration::from_millis(100);
/// Minimum time between two updates of the files if only amounts changed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum time between two updates of the files if a state changed.
const STATE_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum wait for the stages to end after a signal.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Delay before the stages get a SIGTERM after Ctrl-C, which the terminal sends to them too.
const FORWARD_DELAY: Duration = Duration::from_secs(1);
/// Maximum wait for a line after the command has ended, if a process that is not a stage keeps its
/// standard error open.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// State of the main loop.
struct Watcher {
    processes: Processes,
    screen: Screen,
    log: Option<DailyLog>,
    status_file: Option<PolledFile>,
    metrics: Option<PolledFile>,
    previous: prometheus::PreviousUnlock,
    last_update: Instant,
    /// Change that is not in the files yet.
    pending: Option<Pending>,
    run: Option<String>,
    /// Number of lines that were cut.
    cut_lines: u64,
    read_error: Option<String>,
    end: EndState,
    /// True if the events of all runs belong together.
    all_runs: bool,
}

/// Kind of change that is not in the files yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Progress,
    State,
}

pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut source = EventSource::open(cli)?;
    let is_command = matches!(source, EventSource::Command(_));
    let recorded = matches!(source, EventSource::Recorded(_));
    let (command_run, run_dir) = match &mut source {
        EventSource::Command(watched) => (Some(watched.run.clone()), watched.run_dir.take()),
        _ => (None, None),
    };
    let file = match cli.output.as_deref() {
        Some(path) if path.as_os_str() != "-" => Some(Output::named_file(path, Content::Text)?),
        _ => None,
    };
    let mut watcher = Watcher::new(cli, command_run, recorded)?;
    let (to, messages) = sync_channel(QUEUE_LINES);
    signals::watch(to.clone())?;
    let (started, oom_kills_before) = (Instant::now(), oom_kills());
    let inputs = source.start(&to)?;
    drop(to);
    watcher.follow(&messages, inputs, is_command);
    // The stages may have ended because of Ctrl-C before the signal thread of this process runs.
    watcher.end.signal = watcher.end.signal.or_else(|| Some((received_signal()?, watcher.processes.events())));
    if is_command {
        watcher.end.seconds = Some(started.elapsed().as_secs_f64());
    }
    watcher.end.oom_kills = oom_kills().saturating_sub(oom_kills_before);
    let verdict = watcher.finish();
    match run_dir {
        Some(dir) if watcher.processes.is_any_running() => dir.keep(),
        removed => drop(removed),
    }

    if let Some(error) = watcher.read_error.take_if(|_| watcher.processes.events() == 0) {
        // Without this, the verdict would claim that no stage has reported anything.
        return Err(Failure::new(ErrorCode::Io, error).into());
    }
    let line = if cli.json {
        json_line(&verdict).or_fail_as(ErrorCode::Bug, "verdict")?
    } else {
        format!("{}\n", verdict.text).into_bytes()
    };
    let written = match (file, is_command && cli.output.is_none()) {
        (Some(mut file), _) => file.put(&line).and_then(|()| file.commit()),
        (None, true) => std::io::stderr().write_all(&line).map_err(|error| Failure::io("standard error", &error)),
        (None, false) => stdout_is_open()
            .and_then(|()| std::io::stdout().write_all(&line).map_err(|error| Failure::io("standard output", &error))),
    };
    if verdict.exit == 0 {
        written?;
        if let Some(error) = watcher.read_error {
            return Err(Failure::new(ErrorCode::Io, error).into());
        }
    }
    if let Some((signal, _)) = watcher.end.signal.filter(|_| verdict.exit != 0) {
        // The shell must see that the signal ended this process.
        die_by_signal(signal);
    }
    Ok(ExitCode::from(verdict.exit))
}

impl Watcher {
    fn new(cli: &Cli, command_run: Option<String>, recorded: bool) -> Result<Self, Failure> {
        let is_command = command_run.is_some();
        let now = clock::now();
        // When replaying a recorded run, files that only a setting names are not written.
        let is_wanted = |flag| !recorded || is_on_command_line(flag);
        let log = match &cli.log_dir {
            Some(dir) if is_wanted("--log-dir") => Some(DailyLog::open(dir, cli.log_keep, now)?),
            _ => None,
        };
        let status_path = cli.status_file.as_deref().filter(|_| is_wanted("--status-file"));
        let mut status_file = status_path.map(PolledFile::new).transpose()?;
        if let Some(file) = &mut status_file {
            file.create(&status_file::render(&[], command_run.as_deref(), None, now))?;
        }
        let metrics_path = cli.prometheus.as_deref().filter(|_| is_wanted("--prometheus"));
        let previous = metrics_path.map(prometheus::PreviousUnlock::read).unwrap_or_default();
        let mut metrics = None;
        if let Some(path) = metrics_path {
            let mut file = PolledFile::new(path)?;
            file.create(&prometheus::render(&[], None, previous))?;
            metrics = Some(file);
        }
        Ok(Self {
            processes: Processes::new(is_command),
            screen: Screen::new(recorded),
            log,
            status_file,
            metrics,
            previous,
            last_update: Instant::now(),
            pending: None,
            run: command_run.or_else(|| cli.run.clone()),
            cut_lines: 0,
            read_error: None,
            end: EndState { by_arrival: is_command, recorded, run: cli.run.clone(), ..EndState::default() },
            all_runs: is_command,
        })
    }

    /// Handles messages until the inputs and the command have ended, or a deadline has passed.
    fn follow(&mut self, messages: &Receiver<Message>, mut inputs: usize, is_command: bool) {
        let mut is_command_running = is_command;
        let mut stop_deadline: Option<Instant> = None;
        let mut forward_at: Option<Instant> = None;
        let mut drain_deadline: Option<Instant> = None;
        while inputs > 0 || is_command_running {
            let message = messages.recv_timeout(TICK);
            let now = Instant::now();
            match message {
                Ok(Message::Line(input, line)) => {
                    self.handle_line(input, &line);
                    drain_deadline = drain_deadline.map(|_| now + DRAIN_MAX);
                }
                Ok(Message::Output(line)) => {
                    self.screen.show_text(&printable_line(&line.bytes, line.is_cut));
                    drain_deadline = drain_deadline.map(|_| now + DRAIN_MAX);
                }
                Ok(Message::End) => inputs -= 1,
                Ok(Message::ReadFailed(error)) => {
                    self.screen.show_text(&format!("az-status: {error}"));
                    self.read_error = Some(error);
                }
                Ok(Message::Exited(status)) => {
                    is_command_running = false;
                    self.end.command = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
                    drain_deadline = Some(now + DRAIN_MAX);
                }
                Ok(Message::Signal(signal)) => {
                    if self.end.signal.is_some() {
                        return;
                    }
                    self.end.signal = Some((signal, self.processes.events()));
                    stop_deadline = Some(now + STOP_MAX);
                    forward_at = Some(if signal == signal_hook::consts::SIGINT { now + FORWARD_DELAY } else { now });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.update_files_if_due();
            self.screen.tick();
            if forward_at.is_some_and(|at| at <= now) {
                forward_at = None;
                signals::stop_descendants();
            }
            if stop_deadline.is_none() && drain_deadline.is_some_and(|at| at <= now) && self.processes.is_any_running()
            {
                drain_deadline = Some(now + DRAIN_MAX);
            }
            if [stop_deadline, drain_deadline].iter().flatten().any(|at| *at <= now) {
                return;
            }
        }
    }

    fn handle_line(&mut self, input: usize, line: &RawLine) {
        if let Some(problem) = self.log.as_mut().and_then(|log| log.append(&line.bytes, clock::now())) {
            self.screen.show_text(&problem);
        }
        self.cut_lines += u64::from(line.is_cut);
        let (text, event) = event::split_line(line);
        if event.is_none() || !text.is_empty() {
            self.handle_text(text, line.is_cut);
        }
        let Some(event) =
            event.filter(|event| self.all_runs || self.end.run.as_ref().is_none_or(|run| *run == event.run))
        else {
            return;
        };
        let shown = event.clone();
        let Some((process, change)) = self.processes.add(event, input) else { return };
        self.screen.show_event(process, change, &shown);
        let pending = if change == Change::Progress { Pending::Progress } else { Pending::State };
        self.pending = self.pending.max(Some(pending));
    }

    fn handle_text(&mut self, bytes: &[u8], is_cut: bool) {
        let text = printable_line(bytes, is_cut);
        self.screen.show_text(&text);
        if !text.trim().is_empty() {
            let words: Vec<_> = text.split_whitespace().collect();
            self.end.last_text = Some(loader_model::printable(&words.join(" ")));
        }
    }

    /// Writes the files if something changed and the interval has passed.
    fn update_files_if_due(&mut self) {
        let Some(change) = self.pending.filter(|_| !self.end.recorded) else { return };
        let interval = if change == Pending::State { STATE_INTERVAL } else { PROGRESS_INTERVAL };
        if self.last_update.elapsed() >= interval {
            self.update_files(change, None);
        }
    }

    fn selected(&self) -> Vec<&Process> {
        // All events of a command belong to its run, also those of a stage that lost AZ_RUN, as with
        // sudo.
        if self.all_runs { self.processes.select_all() } else { self.processes.select(self.end.run.as_deref()) }
    }

    /// Writes the status file, and the metrics if a state changed.
    fn update_files(&mut self, change: Pending, verdict: Option<&Verdict>) {
        self.last_update = Instant::now();
        self.pending = None;
        if self.status_file.is_none() && self.metrics.is_none() {
            return;
        }
        let now = clock::now();
        let processes = self.selected();
        let status =
            self.status_file.is_some().then(|| status_file::render(&processes, self.run.as_deref(), verdict, now));
        let metrics = (self.metrics.is_some() && change == Pending::State)
            .then(|| prometheus::render(&processes, verdict, self.previous));
        let mut problems = Vec::new();
        if let (Some(file), Some(content)) = (&mut self.status_file, status) {
            problems.extend(file.replace(&content, verdict.is_some()));
        }
        if let (Some(file), Some(content)) = (&mut self.metrics, metrics) {
            problems.extend(file.replace(&content, verdict.is_some()));
        }
        for problem in problems {
            self.screen.show_text(&problem);
        }
    }

    /// Writes the files for the last time, and returns the verdict.
    fn finish(&mut self) -> Verdict {
        self.screen.end();
        self.end.lost = self.cut_lines + self.processes.dropped;
        let mut processes = self.selected();
        if let Some(status) =
            self.end.command.filter(|_| processes.iter().all(|process| failure_kind(process).is_none()))
        {
            // The command may have the exit status of an earlier attempt of a restarted stage.
            processes = self.processes.with_failed_attempts(&processes, status);
        }
        let verdict = Verdict::new(&processes, &self.end);
        let now = clock::now();
        if verdict.exit == 0 && !(is_clock_unset(now) && self.previous.last_success.is_some()) {
            self.previous.last_success = Some(clock::seconds(now));
        }
        self.update_files(Pending::State, Some(&verdict));
        if let Some(log) = &mut self.log {
            let now = clock::now();
            let line = format!("{} az-status: {}", clock::timestamp(now), verdict.text);
            if let Some(problem) = log.append(line.as_bytes(), now) {
                stderr::write(format!("{problem}\n").as_bytes());
            }
        }
        verdict
    }
}

/// Returns the number of processes that the kernel has killed because of low memory since boot.
fn oom_kills() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_default()
}
