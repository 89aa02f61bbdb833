//! What az-status does: reads, keeps, shows, judges.

use crate::board::{Board, Change, Process};
use crate::cli::Cli;
use crate::clock;
use crate::event;
use crate::journal::Journal;
use crate::judge::kind;
use crate::lines::Line;
use crate::outlook;
use crate::prometheus;
use crate::replace::Replaced;
use crate::screen::{self, Screen, printable_line};
use crate::signals;
use crate::source::{Message, Source};
use crate::verdict::{Ending, Verdict};
use loader_model::{is_clock_unset, json_line};
use loader_stage::{
    Content, ErrorCode, Failure, OrFail, Output, die_by_signal, is_on_command_line, received_signal, stdout_is_open,
};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that wait at most; each may have 64 KiB.
const QUEUE_LINES: usize = 32;
/// How often moving bars are drawn, and time is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Least time between two status files that differ in counts alone.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);
/// The same for those that differ in a state: a flood of lines is no flood of files.
const STATE_INTERVAL: Duration = Duration::from_millis(20);
/// How long after a signal the stages may take to end.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long after Ctrl-C, which a terminal sends to all, they are left alone.
const STOP_ALONE: Duration = Duration::from_secs(1);
/// How long after the end of the command something that is no stage at work may
/// hold its standard error open without a line.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Everything that is kept while lines come.
struct Watch {
    board: Board,
    screen: Screen,
    journal: Option<Journal>,
    status: Option<Replaced>,
    metrics: Option<Replaced>,
    before: prometheus::Before,
    last_kept: Instant,
    /// Something changed that the files do not tell yet; true for a state.
    unkept: Option<bool>,
    run: Option<String>,
    cut: u64,
    broken: Option<String>,
    ending: Ending,
    whole: bool,
}

pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut source = Source::open(cli)?;
    let is_command = matches!(source, Source::Command(_));
    let recorded = matches!(source, Source::Recorded(_));
    let (command_run, run_dir) = match &mut source {
        Source::Command(run) => (Some(run.name.clone()), run.run_dir.take()),
        _ => (None, None),
    };
    let file = match cli.output.as_deref() {
        Some(path) if path.as_os_str() != "-" => Some(Output::named_file(path, Content::Text)?),
        _ => None,
    };
    let mut watch = Watch::new(cli, command_run, recorded)?;
    let (to, messages) = sync_channel(QUEUE_LINES);
    signals::watch(to.clone())?;
    let before = (Instant::now(), oom_kills());
    let inputs = source.start(&to)?;
    drop(to);
    watch.follow(&messages, inputs, is_command);
    // Stages may end of Ctrl-C before the thread that waits for it here is woken.
    watch.ending.signal = watch.ending.signal.or_else(|| Some((received_signal()?, watch.board.events())));
    if is_command {
        watch.ending.seconds = Some(before.0.elapsed().as_secs_f64());
    }
    watch.ending.oom_kills = oom_kills().saturating_sub(before.1);
    let verdict = watch.end();
    match run_dir {
        Some(dir) if watch.board.anyone_works() => dir.keep(),
        removed => drop(removed),
    }

    if let Some(broken) = watch.broken.take_if(|_| watch.board.events() == 0) {
        // That nobody reported anything would not be true.
        return Err(Failure::new(ErrorCode::Io, broken).into());
    }
    let line = if cli.json {
        json_line(&verdict).or_fail("verdict", |_| ErrorCode::Bug)?
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
        if let Some(broken) = watch.broken {
            return Err(Failure::new(ErrorCode::Io, broken).into());
        }
    }
    if let Some((signal, _)) = watch.ending.signal.filter(|_| verdict.exit != 0) {
        // The shell shall see a process that died of the signal.
        die_by_signal(signal);
    }
    Ok(ExitCode::from(verdict.exit))
}

impl Watch {
    fn new(cli: &Cli, command_run: Option<String>, recorded: bool) -> Result<Self, Failure> {
        let is_command = command_run.is_some();
        let now = clock::now();
        // What a setting names for unlocks says nothing of one that was over long ago.
        let wanted = |flag| !recorded || is_on_command_line(flag);
        let journal = match &cli.log_dir {
            Some(dir) if wanted("--log-dir") => Some(Journal::open(dir, cli.log_keep, now)?),
            _ => None,
        };
        let status_file = cli.status_file.as_deref().filter(|_| wanted("--status-file"));
        let mut status = status_file.map(Replaced::new).transpose()?;
        if let Some(file) = &mut status {
            file.begin(&outlook::status_file(&[], command_run.as_deref(), None, now))?;
        }
        let prometheus = cli.prometheus.as_deref().filter(|_| wanted("--prometheus"));
        let before = prometheus.map(prometheus::Before::read).unwrap_or_default();
        let mut metrics = None;
        if let Some(path) = prometheus {
            let mut file = Replaced::new(path)?;
            file.begin(&prometheus::render(&[], None, before))?;
            metrics = Some(file);
        }
        Ok(Self {
            board: Board::new(is_command),
            screen: Screen::new(recorded),
            journal,
            status,
            metrics,
            before,
            last_kept: Instant::now(),
            unkept: None,
            run: command_run.or_else(|| cli.run.clone()),
            cut: 0,
            broken: None,
            ending: Ending { by_arrival: is_command, recorded, run: cli.run.clone(), ..Ending::default() },
            whole: is_command,
        })
    }

    /// Takes messages until the inputs and the command have ended, or until
    /// waiting for them makes no sense.
    fn follow(&mut self, messages: &Receiver<Message>, mut inputs: usize, is_command: bool) {
        let mut command_runs = is_command;
        let mut stop: Option<Instant> = None;
        let mut pass_on: Option<Instant> = None;
        let mut drained: Option<Instant> = None;
        while inputs > 0 || command_runs {
            let message = messages.recv_timeout(TICK);
            let now = Instant::now();
            match message {
                Ok(Message::Line(input, line)) => {
                    self.line(input, &line);
                    drained = drained.map(|_| now + DRAIN_MAX);
                }
                Ok(Message::Output(line)) => {
                    self.screen.text(&printable_line(&line.bytes, line.cut));
                    drained = drained.map(|_| now + DRAIN_MAX);
                }
                Ok(Message::End) => inputs -= 1,
                Ok(Message::Broken(what)) => {
                    self.screen.text(&format!("az-status: {what}"));
                    self.broken = Some(what);
                }
                Ok(Message::Exited(status)) => {
                    command_runs = false;
                    self.ending.command = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
                    drained = Some(now + DRAIN_MAX);
                }
                Ok(Message::Signal(signal)) => {
                    if self.ending.signal.is_some() {
                        return;
                    }
                    self.ending.signal = Some((signal, self.board.events()));
                    stop = Some(now + STOP_MAX);
                    pass_on = Some(if signal == signal_hook::consts::SIGINT { now + STOP_ALONE } else { now });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.keep_in_time();
            self.screen.tick();
            if pass_on.is_some_and(|at| at <= now) {
                pass_on = None;
                signals::stop_descendants();
            }
            if stop.is_none() && drained.is_some_and(|at| at <= now) && self.board.anyone_works() {
                drained = Some(now + DRAIN_MAX);
            }
            if [stop, drained].iter().flatten().any(|at| *at <= now) {
                return;
            }
        }
    }

    fn line(&mut self, input: usize, line: &Line) {
        if let Some(trouble) = self.journal.as_mut().and_then(|journal| journal.line(&line.bytes, clock::now())) {
            self.screen.text(&trouble);
        }
        self.cut += u64::from(line.cut);
        let (text, event) = event::split(line);
        if event.is_none() || !text.is_empty() {
            self.text(text, line.cut);
        }
        let Some(event) =
            event.filter(|event| self.whole || self.ending.run.as_ref().is_none_or(|run| *run == event.run))
        else {
            return;
        };
        let shown = event.clone();
        let Some((process, change)) = self.board.take(event, input) else { return };
        self.screen.event(process, change, &shown);
        self.unkept = self.unkept.max(Some(change != Change::Progress));
    }

    /// What is no event.
    fn text(&mut self, bytes: &[u8], cut: bool) {
        let text = printable_line(bytes, cut);
        self.screen.text(&text);
        if !text.trim().is_empty() {
            let words: Vec<_> = text.split_whitespace().collect();
            self.ending.last_text = Some(loader_model::printable(&words.join(" ")));
        }
    }

    /// Writes what changed, where it is time.
    fn keep_in_time(&mut self) {
        let Some(moved) = self.unkept.filter(|_| !self.ending.recorded) else { return };
        if self.last_kept.elapsed() >= if moved { STATE_INTERVAL } else { COUNT_INTERVAL } {
            self.keep(moved, None);
        }
    }

    fn selected(&self) -> Vec<&Process> {
        // Whatever a command tells is of its run, even a stage that lost AZ_RUN
        // on its way, as under sudo.
        if self.whole { self.board.select_all() } else { self.board.select(self.ending.run.as_deref()) }
    }

    /// Writes the status file, and where `moved` the metrics too.
    fn keep(&mut self, moved: bool, verdict: Option<&Verdict>) {
        self.last_kept = Instant::now();
        self.unkept = None;
        if self.status.is_none() && self.metrics.is_none() {
            return;
        }
        let now = clock::now();
        let processes = self.selected();
        let status = self.status.is_some().then(|| outlook::status_file(&processes, self.run.as_deref(), verdict, now));
        let metrics = (self.metrics.is_some() && moved).then(|| prometheus::render(&processes, verdict, self.before));
        let mut troubles = Vec::new();
        if let (Some(file), Some(content)) = (&mut self.status, status) {
            troubles.extend(file.put(&content, verdict.is_some()));
        }
        if let (Some(file), Some(content)) = (&mut self.metrics, metrics) {
            troubles.extend(file.put(&content, verdict.is_some()));
        }
        for trouble in troubles {
            self.screen.text(&trouble);
        }
    }

    /// The verdict, after the last of all that is kept was written.
    fn end(&mut self) -> Verdict {
        self.screen.end();
        self.ending.lost = self.cut + self.board.ignored;
        let mut processes = self.selected();
        if let Some(status) = self.ending.command.filter(|_| processes.iter().all(|process| kind(process).is_none())) {
            // The command may end as a stage did that it ran again, or one of two.
            processes = self.board.with_failed_before(&processes, status);
        }
        let verdict = Verdict::new(&processes, &self.ending);
        let now = clock::now();
        if verdict.exit == 0 && !(is_clock_unset(now) && self.before.last_success.is_some()) {
            self.before.last_success = Some(clock::seconds(now));
        }
        self.keep(true, Some(&verdict));
        if let Some(journal) = &mut self.journal {
            let now = clock::now();
            let line = format!("{} az-status: {}", clock::stamp(now), verdict.text);
            if let Some(trouble) = journal.line(line.as_bytes(), now) {
                screen::put(format!("{trouble}\n").as_bytes());
            }
        }
        verdict
    }
}

/// Processes that the kernel has killed for lack of memory since it started.
fn oom_kills() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_default()
}
