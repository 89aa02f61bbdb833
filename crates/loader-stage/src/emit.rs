//! Event lines on standard error, in a file, and in the folder of the run.

use crate::Failure;
use loader_model::{ErrorCode, Event, EventError, Unit, UnlockState, printable};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};
use std::env;
use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times, 5 ms apart, that the last word waits for another thread's line.
const LAST_WORD_TRIES: u32 = 40;

/// The last second that a four-digit year can write, 9999-12-31T23:59:59Z.
const LATEST_SECOND: u64 = 253_402_300_799;

/// How lines look on standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Human,
    ErrorsOnly,
}

/// Writes the events of one stage; the last one, `ready` or `error`, once.
pub(crate) struct Emitter {
    stage: String,
    run: String,
    fixed_time: Option<SystemTime>,
    mode: Style,
    state: Mutex<State>,
}

struct State {
    now: UnlockState,
    ended: bool,
    files: Vec<(PathBuf, File)>,
    /// The first line that a file did not take.
    refused: Option<(PathBuf, io::Error)>,
}

/// What an event says beyond the state.
#[derive(Default)]
pub(crate) struct Report<'a> {
    pub(crate) step: Option<&'a str>,
    pub(crate) detail: Option<Map<String, Value>>,
    pub(crate) done: Option<u64>,
    pub(crate) total: Option<u64>,
    /// What is counted where it is not bytes.
    pub(crate) unit: Option<Unit>,
}

impl Emitter {
    /// The emitter that the environment asks for; with the failure where it asks
    /// for something impossible, beside an emitter that can report it.
    pub(crate) fn from_environment(stage: &str) -> (Self, Option<Failure>) {
        let mut problem = None;
        let mode = match env::var("AZ_EVENTS").as_deref() {
            Err(_) | Ok("" | "json") => Style::Json,
            Ok("human") => Style::Human,
            Ok("off") => Style::ErrorsOnly,
            Ok(_) => {
                problem = Some(Failure::new(ErrorCode::Config, "AZ_EVENTS is not json, human or off"));
                Style::Json
            }
        };
        let run = match env::var("AZ_RUN") {
            Ok(run) if is_run_name(&run) => run,
            Ok(run) if !run.is_empty() => {
                problem = Some(Failure::new(ErrorCode::Config, "AZ_RUN is not 1 to 64 of A-Z a-z 0-9 . _ -"));
                random_run()
            }
            _ => random_run(),
        };
        let fixed_time = match env::var("SOURCE_DATE_EPOCH").ok().filter(|seconds| !seconds.is_empty()) {
            None => None,
            Some(seconds) => match seconds.parse() {
                Ok(seconds @ 0..=LATEST_SECOND) => Some(UNIX_EPOCH + Duration::from_secs(seconds)),
                _ => {
                    problem = Some(Failure::new(ErrorCode::Config, "SOURCE_DATE_EPOCH is not a time in seconds"));
                    None
                }
            },
        };
        let state = State { now: UnlockState::Idle, ended: false, files: Vec::new(), refused: None };
        (Self { stage: stage.to_owned(), run, fixed_time, mode, state: Mutex::new(state) }, problem)
    }

    /// The same emitter, but with text instead of JSON where standard error is a
    /// terminal.
    pub(crate) fn text_on_terminal(mut self) -> Self {
        if self.mode == Style::Json && std::io::stderr().is_terminal() {
            self.mode = Style::Human;
        }
        self
    }

    /// Appends all further events to the file at `path` too.
    ///
    /// # Errors
    /// `cannot_create` where it cannot be opened.
    pub(crate) fn append_to(&self, path: &Path) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
            Failure::new(ErrorCode::CannotCreate, format_args!("{}: {}", path.display(), std::io::Error::from(error)))
        })?;
        self.lock().files.push((path.to_owned(), File::from(file)));
        Ok(())
    }

    /// Appends to `DIR/<stage>.jsonl` where `AZ_RUN_DIR` names a folder, which is
    /// made where only that is missing, as in /run after a boot.
    ///
    /// # Errors
    /// `cannot_create` where the file cannot be opened.
    pub(crate) fn append_to_run_dir(&self) -> Result<(), Failure> {
        match env::var_os("AZ_RUN_DIR") {
            Some(dir) if !dir.is_empty() => {
                let dir = Path::new(&dir);
                // Where it is there, or cannot be made, the file tells.
                let _ = DirBuilder::new().mode(0o700).create(dir);
                self.append_to(&dir.join(format!("{}.jsonl", self.stage)))
            }
            _ => Ok(()),
        }
    }

    /// Fails where a file did not take what was said so far. Later lines must not
    /// stop the work.
    ///
    /// # Errors
    /// `io` with the file's name.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        let refused = self.lock().refused.take();
        refused.map_or(Ok(()), |(path, error)| Err(Failure::io(path.display(), &error)))
    }

    /// Says that the stage is in `state`; nothing after the final event.
    pub(crate) fn state(&self, state: UnlockState, report: Report<'_>) {
        let mut inner = self.lock();
        inner.now = state;
        self.write(&mut inner, report, None);
    }

    /// Says more about the present state.
    pub(crate) fn report(&self, report: Report<'_>) {
        self.write(&mut self.lock(), report, None);
    }

    /// The final event of a failure. Nothing is said to a terminal whose reader
    /// simply went away.
    pub(crate) fn error(&self, failure: &Failure) {
        self.write_error(&mut self.lock(), failure);
    }

    fn write_error(&self, inner: &mut State, failure: &Failure) {
        inner.now = UnlockState::Error;
        let mut error = EventError::new(failure.code(), &failure.to_string(), failure.hint_text());
        error.caused_by = failure.cause().map(str::to_owned);
        self.write(inner, Report::default(), Some(error));
    }

    /// The final event of a process that ends at once, in a panic or by a signal:
    /// said only where no other thread is in the middle of saying something, so
    /// that it can never keep the process from ending.
    pub(crate) fn last_word(&self, failure: &Failure) {
        for _ in 0..LAST_WORD_TRIES {
            match self.state.try_lock() {
                Ok(mut inner) => return self.write_error(&mut inner, failure),
                Err(TryLockError::Poisoned(poisoned)) => return self.write_error(&mut poisoned.into_inner(), failure),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self, inner: &mut State, report: Report<'_>, error: Option<EventError>) {
        if inner.ended {
            return;
        }
        inner.ended = inner.now.is_final();
        let event = Event {
            v: 1,
            ts: humantime::format_rfc3339_millis(self.fixed_time.unwrap_or_else(SystemTime::now)).to_string(),
            run: self.run.clone(),
            stage: self.stage.clone(),
            pid: self.fixed_time.is_none().then(std::process::id),
            state: inner.now,
            step: report.step.map(str::to_owned),
            detail: report.detail,
            done: report.done,
            total: report.total,
            unit: report.done.map(|_| report.unit.unwrap_or(Unit::Bytes)),
            error,
        };
        let line = event.to_line();
        for (path, file) in &mut inner.files {
            // The report must not stop the work that is under way.
            if let Err(error) = file.write_all(&line) {
                inner.refused.get_or_insert_with(|| (path.clone(), error));
            }
            if inner.ended {
                let _ = file.sync_data();
            }
        }
        let stderr = std::io::stderr();
        let reader_gone = event.error.as_ref().is_some_and(|e| e.code == ErrorCode::ReaderGone.as_str());
        let shown = match self.mode {
            _ if reader_gone && stderr.is_terminal() => None,
            Style::ErrorsOnly if event.error.is_none() => None,
            Style::Human => human(&event).map(String::into_bytes),
            Style::Json | Style::ErrorsOnly => Some(line),
        };
        if let Some(bytes) = shown {
            let _ = stderr.lock().write_all(&bytes);
        }
    }
}

/// The event as a short line of text; `None` for what a person need not see.
fn human(event: &Event) -> Option<String> {
    let stage = &event.stage;
    if let Some(error) = &event.error {
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        return Some(format!("{stage}: {}{hint}\n", error.message));
    }
    let step = event.step.as_deref().map(|step| format!(": {step}")).unwrap_or_default();
    let detail =
        event.detail.as_ref().map(|detail| format!(" {}", printable(&Value::from(detail.clone()).to_string())));
    let unit = if event.unit == Some(Unit::Layers) { "layers" } else { "bytes" };
    let amount = match (event.done, event.total) {
        (Some(done), Some(total)) => format!(" {done} of {total} {unit}"),
        (Some(done), None) => format!(" {done} {unit}"),
        _ => String::new(),
    };
    let idle = event.state == UnlockState::Idle && event.step.is_none() && event.done.is_none();
    (!idle).then(|| format!("{stage}: {}{step}{amount}{}\n", event.state, detail.unwrap_or_default()))
}

fn is_run_name(run: &str) -> bool {
    (1..=64).contains(&run.len()) && run.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn random_run() -> String {
    let mut bytes = [0; 4];
    // Without randomness the process id still tells runs apart.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    format!("{:08x}", u32::from_be_bytes(bytes))
}
