//! Event lines on standard error, in a file, and in the run directory.

use crate::{Failure, access, append_regular, is_run_name, random_run_name};
use loader_model::{ErrorCode, Event, EventError, StageName, Step, Unit, UnlockState, printable};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};
use std::env;
use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Number of attempts, 5 ms apart, to write the final event while another thread writes one.
const FINAL_EVENT_TRIES: u32 = 40;

/// 9999-12-31T23:59:59Z in seconds since 1970, the last second of a four-digit year.
const LATEST_SECOND: u64 = 253_402_300_799;

/// Format of the events on standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Human,
    ErrorsOnly,
}

/// Writes the events of one stage. Nothing is written after the final event, `ready` or `error`.
pub(crate) struct Emitter {
    stage: StageName,
    run: String,
    fixed_time: Option<SystemTime>,
    mode: Style,
    state: Mutex<EmitterState>,
}

struct EmitterState {
    state: UnlockState,
    ended: bool,
    files: Vec<(PathBuf, File)>,
    /// The first failed write to a file.
    write_error: Option<(PathBuf, io::Error)>,
}

/// Fields of an event other than the state.
#[derive(Default)]
pub(crate) struct EventFields {
    pub(crate) step: Option<Step>,
    pub(crate) detail: Option<Map<String, Value>>,
    pub(crate) done: Option<u64>,
    pub(crate) total: Option<u64>,
    /// Unit of `done` and `total`; bytes by default.
    pub(crate) unit: Option<Unit>,
}

/// Returns true if the next stage can see how this one ends, in the directory `AZ_RUN_DIR`.
pub fn has_run_dir() -> bool {
    env::var_os("AZ_RUN_DIR").is_some_and(|dir| !dir.is_empty())
}

impl Emitter {
    /// Creates the emitter that the environment variables describe. If a variable is invalid,
    /// also returns the failure, which the emitter can report.
    pub(crate) fn from_environment(stage: StageName) -> (Self, Option<Failure>) {
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
                random_run_name()
            }
            _ => random_run_name(),
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
        let state = EmitterState { state: UnlockState::Idle, ended: false, files: Vec::new(), write_error: None };
        (Self { stage, run, fixed_time, mode, state: Mutex::new(state) }, problem)
    }

    /// Makes the emitter write text instead of JSON if standard error is a terminal.
    pub(crate) fn text_on_terminal(mut self) -> Self {
        if self.mode == Style::Json && std::io::stderr().is_terminal() {
            self.mode = Style::Human;
        }
        self
    }

    /// Also appends all further events to the file at `path`.
    ///
    /// # Errors
    /// `cannot_create` if the file cannot be opened.
    pub(crate) fn append_to(&self, path: &Path) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
            Failure::new(ErrorCode::CannotCreate, format_args!("{}: {}", path.display(), std::io::Error::from(error)))
        })?;
        self.lock().files.push((path.to_owned(), File::from(file)));
        Ok(())
    }

    /// Also appends all further events to `<stage>.jsonl` in the directory `AZ_RUN_DIR`, if
    /// it is set. The directory is created if its parent exists: a directory below /run is
    /// missing after a boot.
    ///
    /// # Errors
    /// `cannot_create` if the file cannot be opened or is not a regular file, or if another
    /// user created a symbolic link that leads to the directory.
    pub(crate) fn append_to_run_dir(&self) -> Result<(), Failure> {
        let Some(dir) = env::var_os("AZ_RUN_DIR").filter(|dir| !dir.is_empty()) else { return Ok(()) };
        let dir = Path::new(&dir);
        // If this fails for another reason than an existing directory, opening the file fails.
        let _ = DirBuilder::new().mode(0o700).create(dir);
        let path = dir.join(format!("{}.jsonl", self.stage));
        let file = match access::foreign_link_in(dir) {
            Some(link) => Err(io::Error::other(format!("{} is a symbolic link of another user", link.display()))),
            None => append_regular(&path),
        };
        let file =
            file.map_err(|error| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", path.display())))?;
        self.lock().files.push((path, file));
        Ok(())
    }

    /// Checks that all events so far were written to the files. A write that fails later
    /// does not stop the work.
    ///
    /// # Errors
    /// `io` with the name of the file.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        let write_error = self.lock().write_error.take();
        write_error.map_or(Ok(()), |(path, error)| Err(Failure::io(path.display(), &error)))
    }

    /// Writes the event of a new state.
    pub(crate) fn state(&self, state: UnlockState, fields: EventFields) {
        let mut inner = self.lock();
        inner.state = state;
        self.write(&mut inner, fields, None);
    }

    /// Writes an event in the current state.
    pub(crate) fn report(&self, fields: EventFields) {
        self.write(&mut self.lock(), fields, None);
    }

    /// Writes an event for a step, with the strings in `detail` made printable.
    pub(crate) fn step(&self, step: Step, detail: &[(&str, Value)]) {
        let safe = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| printable(text).into());
        let detail: Map<_, _> = detail.iter().map(|(name, value)| ((*name).to_owned(), safe(value))).collect();
        let detail = (!detail.is_empty()).then_some(detail);
        self.report(EventFields { step: Some(step), detail, ..EventFields::default() });
    }

    /// Writes the final event of a failure. It is not shown on a terminal if the cause is that
    /// the reader of standard output closed the pipe.
    pub(crate) fn error(&self, failure: &Failure) {
        self.write_error(&mut self.lock(), failure);
    }

    fn write_error(&self, inner: &mut EmitterState, failure: &Failure) {
        inner.state = UnlockState::Error;
        let mut error = EventError::new(failure.code(), &failure.to_string(), failure.hint_text());
        error.caused_by = failure.cause().cloned();
        self.write(inner, EventFields::default(), Some(error));
    }

    /// Writes the final event of a process that is about to exit after a panic or a signal.
    /// The event is dropped if another thread holds the lock for too long, so that this never
    /// keeps the process from exiting.
    pub(crate) fn emit_final(&self, failure: &Failure) {
        for _ in 0..FINAL_EVENT_TRIES {
            match self.state.try_lock() {
                Ok(mut inner) => return self.write_error(&mut inner, failure),
                Err(TryLockError::Poisoned(poisoned)) => return self.write_error(&mut poisoned.into_inner(), failure),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, EmitterState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self, inner: &mut EmitterState, fields: EventFields, error: Option<EventError>) {
        if inner.ended {
            return;
        }
        inner.ended = inner.state.is_final();
        let event = Event {
            v: 1,
            ts: humantime::format_rfc3339_millis(self.fixed_time.unwrap_or_else(SystemTime::now)).to_string(),
            run: self.run.clone(),
            stage: self.stage.into(),
            pid: self.fixed_time.is_none().then(std::process::id),
            state: inner.state,
            step: fields.step.map(Into::into),
            detail: fields.detail,
            done: fields.done,
            total: fields.total,
            unit: fields.done.map(|_| fields.unit.unwrap_or(Unit::Bytes)),
            error,
        };
        let line = event.to_line();
        for (path, file) in &mut inner.files {
            // A failed write of an event must not stop the work; `check_files` reports the first one.
            if let Err(error) = file.write_all(&line) {
                inner.write_error.get_or_insert_with(|| (path.clone(), error));
            }
            if inner.ended {
                let _ = file.sync_data();
            }
        }
        let stderr = std::io::stderr();
        let reader_gone = event.error.as_ref().is_some_and(|e| e.code == ErrorCode::ReaderGone);
        let shown = match self.mode {
            _ if reader_gone && stderr.is_terminal() => None,
            Style::ErrorsOnly if event.error.is_none() => None,
            Style::Human => human_text(&event).map(String::into_bytes),
            Style::Json | Style::ErrorsOnly => Some(line),
        };
        if let Some(bytes) = shown {
            let _ = stderr.lock().write_all(&bytes);
        }
    }
}

/// Formats the event as a short line of text. Returns `None` for the first event of a stage.
fn human_text(event: &Event) -> Option<String> {
    let stage = &event.stage;
    if let Some(error) = &event.error {
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        return Some(format!("{stage}: {}{hint}\n", error.message));
    }
    let step = event.step.as_ref().map(|step| format!(": {step}")).unwrap_or_default();
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
