//! The final line of the stage before, in the folder of the run.

use crate::Failure;
use loader_model::{ErrorCode, Event, EventError, UnlockState};
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a final line may be late: it is written, with an fsync, right after
/// the last byte.
const LATE: Duration = Duration::from_secs(10);

/// The same where no process has the writer's id any more. Not at once: the id
/// may be of another namespace.
const LATE_AND_GONE: Duration = Duration::from_secs(2);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Longest line that is read; an event is at most 4 KiB.
const LINE_MAX: u64 = 64 * 1024;

/// How the stage before ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has said that it is done.
    Ready,
    /// Nobody could be asked.
    Unknown,
}

impl Ending {
    /// `ready` or `unknown`, as events say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unknown => "unknown",
        }
    }
}

/// The name of a stage, which is that of its file too.
///
/// # Errors
/// What is wrong with it.
pub fn parse_stage(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => Err("expected the name of a stage, such as az-decrypt".to_owned()),
    }
}

/// Where the stage before reports.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    stage: String,
    run: String,
    /// What this stage has not done, such as `nothing was loaded`.
    undone: &'static str,
    /// Whether the user named the stage, so that it must be there.
    named: bool,
}

/// What the file says by now.
enum Look {
    /// The stage did not take part in this run.
    Nothing,
    Running {
        pid: Option<u32>,
    },
    Ready,
    Failed(Option<EventError>),
}

impl RunDir {
    /// From `AZ_RUN_DIR` and `AZ_RUN`; `None` without a folder. The stage is
    /// `after` where the user named it, and must take part then; else `usual`.
    /// Failures say that `undone` is so.
    ///
    /// # Errors
    /// `config` without a folder where the user named the stage `after`, and where
    /// there is a folder of which no run is named: nobody would be waited for.
    pub fn find(after: Option<&str>, usual: &str, undone: &'static str) -> Result<Option<Self>, Failure> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let missing = |what: &str| {
            Err(Failure::new(ErrorCode::Config, what)
                .hint("export AZ_RUN=$(date +%s) AZ_RUN_DIR=/run/azaion before the pipeline".to_owned()))
        };
        let (dir, run) = match (set("AZ_RUN_DIR"), set("AZ_RUN")) {
            (Some(dir), Some(run)) => (dir, run),
            (Some(_), None) => {
                return missing("AZ_RUN_DIR without AZ_RUN does not tell which run the stage before is of");
            }
            (None, _) if after.is_some() => return missing("--after needs AZ_RUN_DIR and AZ_RUN"),
            (None, _) => return Ok(None),
        };
        let stage = after.unwrap_or(usual).to_owned();
        let path = Path::new(&dir).join(format!("{stage}.jsonl"));
        let run = run.to_string_lossy().into_owned();
        Ok(Some(Self { path, stage, run, undone, named: after.is_some() }))
    }

    /// Waits for the final line of the stage, whose output has ended already.
    ///
    /// # Errors
    /// The failure that the line tells; `temporary` where there is none.
    pub fn ending(&self) -> Result<Ending, Failure> {
        let start = Instant::now();
        let mut gone_since = None;
        loop {
            match self.look()? {
                Look::Ready => return Ok(Ending::Ready),
                Look::Failed(error) => return Err(self.failure(error)),
                Look::Nothing if !self.named => return Ok(Ending::Unknown),
                Look::Nothing => {}
                Look::Running { pid } => {
                    let gone = pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
                    gone_since = if gone { gone_since.or(Some(Instant::now())) } else { None };
                }
            }
            if start.elapsed() > LATE || gone_since.is_some_and(|since| since.elapsed() > LATE_AND_GONE) {
                let stage = &self.stage;
                let text = format!("{stage} has no final line in {}: it was killed", self.path.display());
                return Err(Failure::new(ErrorCode::Temporary, format_args!("{text}; {}", self.undone)).hint(
                    "kill -9, out of memory (see dmesg), or no space in that folder; then run it again".to_owned(),
                ));
            }
            sleep(LOOK);
        }
    }

    /// The failure that stands in the file by now.
    pub fn known_failure(&self) -> Option<Failure> {
        match self.look() {
            Ok(Look::Failed(error)) => Some(self.failure(error)),
            _ => None,
        }
    }

    fn failure(&self, error: Option<EventError>) -> Failure {
        let code = error.as_ref().map_or(ErrorCode::Truncated, |error| ErrorCode::from_name(&error.code));
        let message = error.as_ref().map_or("without a reason", |error| &error.message);
        let failure = Failure::new(code, format_args!("{} failed: {message}; {}", self.stage, self.undone));
        failure.hint(error.and_then(|error| error.hint))
    }

    /// Reads the file: it may hold other runs, and earlier attempts of this one.
    fn look(&self) -> Result<Look, Failure> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Look::Nothing),
            Err(error) => return Err(self.io(&error)),
        };
        let mut file = BufReader::new(file);
        let mut look = Look::Nothing;
        let mut newest = None;
        loop {
            let mut line = Vec::new();
            file.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(|error| self.io(&error))?;
            if line.is_empty() {
                return Ok(look);
            }
            // A line that is being written is read at the next look.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            if event.run != self.run || event.stage != self.stage {
                continue;
            }
            let first_line = event.state == UnlockState::Idle && event.step.is_none();
            if newest != Some(event.pid) || first_line {
                newest = Some(event.pid);
                look = Look::Running { pid: event.pid };
            }
            match event.state {
                UnlockState::Ready => look = Look::Ready,
                UnlockState::Error => look = Look::Failed(event.error),
                _ => {}
            }
        }
    }

    fn io(&self, error: &io::Error) -> Failure {
        Failure::io(self.path.display(), error)
    }
}
