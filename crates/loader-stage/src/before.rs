//! The final line of the stage before, in the folder of the run.

use crate::Failure;
use loader_model::{ErrorCode, Event, EventError, UnlockState};
use std::collections::BTreeSet;
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
    /// Number of the processes in the file, in their order, that had been killed before this
    /// stage started.
    killed_before: BTreeSet<usize>,
}

/// One process of the stage, as its lines in the file show it. Lines are numbered from 0.
struct Process {
    pid: Option<u32>,
    first_line: usize,
    last_line: usize,
    /// How it ended; `None` without a final line.
    end: Option<Result<(), Option<EventError>>>,
}

impl Process {
    /// True if no process has its id any more.
    fn is_gone(&self) -> bool {
        self.pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    }
}

/// State of the stage, all of its processes together.
enum Look {
    /// The stage did not take part in this run.
    Nothing,
    /// One of them has no final line; `gone` if that one cannot come any more.
    Running {
        gone: bool,
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
        Ok(Some(Self::in_file(path, stage, run, undone, after.is_some())))
    }

    fn in_file(path: PathBuf, stage: String, run: String, undone: &'static str, named: bool) -> Self {
        let mut found = Self { path, stage, run, undone, named, killed_before: BTreeSet::new() };
        // A file that cannot be read is reported when it matters.
        for (number, process) in found.processes().unwrap_or_default().iter().enumerate() {
            if process.end.is_none() && process.is_gone() {
                found.killed_before.insert(number);
            }
        }
        found
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
                Look::Running { gone } => {
                    gone_since = if gone { gone_since.or(Some(Instant::now())) } else { None };
                }
            }
            if start.elapsed() > LATE || gone_since.is_some_and(|since| since.elapsed() > LATE_AND_GONE) {
                let stage = &self.stage;
                let text = format!("{stage} has no final line in {}: it was killed", self.path.display());
                return Err(Failure::new(ErrorCode::Temporary, format_args!("{text}; {}", self.undone))
                    .hint(
                        "kill -9, out of memory (see dmesg), or no space in that folder; then run it again".to_owned(),
                    )
                    .caused_by(stage));
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
        failure.hint(error.and_then(|error| error.hint)).caused_by(&self.stage)
    }

    /// The state of all processes of the stage in this run. An earlier attempt does not count:
    /// one that failed before a later process started, or was killed before this stage started
    /// and a later process took its place. Of two that ran side by side both must be ready.
    fn look(&self) -> Result<Look, Failure> {
        let mut processes = self.processes()?;
        let starts: Vec<usize> = processes.iter().map(|process| process.first_line).collect();
        let mut number = 0;
        processes.retain(|process| {
            let ended = process.end.is_some() || self.killed_before.contains(&number);
            number += 1;
            !(ended && starts.iter().any(|start| *start > process.last_line))
        });
        let failed = processes.iter_mut().find_map(|process| process.end.as_mut()?.as_mut().err());
        if let Some(error) = failed {
            return Ok(Look::Failed(error.take()));
        }
        let mut running = processes.iter().filter(|process| process.end.is_none()).peekable();
        Ok(match (running.peek().is_some(), processes.is_empty()) {
            (true, _) => Look::Running { gone: running.any(Process::is_gone) },
            (false, false) => Look::Ready,
            (false, true) => Look::Nothing,
        })
    }

    /// The processes of the stage in this run, in the order of their first lines; the file may
    /// hold other runs.
    fn processes(&self) -> Result<Vec<Process>, Failure> {
        let mut processes: Vec<Process> = Vec::new();
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(processes),
            Err(error) => return Err(self.io(&error)),
        };
        let mut file = BufReader::new(file);
        for number in 0.. {
            let mut line = Vec::new();
            file.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(|error| self.io(&error))?;
            if line.is_empty() {
                break;
            }
            // A line that is being written is read the next time.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            if event.run != self.run || event.stage != self.stage {
                continue;
            }
            let is_first = event.state == UnlockState::Idle && event.step.is_none() && event.done.is_none();
            let known = processes.iter().rposition(|process| process.pid == event.pid).filter(|_| !is_first);
            let at = known.unwrap_or_else(|| {
                processes.push(Process { pid: event.pid, first_line: number, last_line: number, end: None });
                processes.len() - 1
            });
            let process = &mut processes[at];
            process.last_line = number;
            match event.state {
                UnlockState::Ready => process.end = Some(Ok(())),
                UnlockState::Error => process.end = Some(Err(event.error)),
                _ => {}
            }
        }
        Ok(processes)
    }

    fn io(&self, error: &io::Error) -> Failure {
        Failure::io(self.path.display(), error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use std::process::{Child, Command, Stdio};

    const IDLE: &str = r#""state":"idle""#;
    const READY: &str = r#""state":"ready""#;
    const FAILED: &str = r#""state":"error","error":{"code":"wrong_key","exit":79,"message":"no slot fits"}"#;

    fn run_dir(lines: &[(u32, &str)]) -> (::tempfile::TempDir, RunDir) {
        let dir = ::tempfile::tempdir().unwrap();
        let text: String = lines
            .iter()
            .map(|(pid, rest)| {
                format!(
                    r#"{{"v":1,"ts":"2026-01-01T00:00:00.000Z","run":"r","stage":"az-decrypt","pid":{pid},{rest}}}"#
                ) + "\n"
            })
            .collect();
        let path = dir.path().join("az-decrypt.jsonl");
        std::fs::write(&path, text).unwrap();
        let found = RunDir::in_file(path, "az-decrypt".to_owned(), "r".to_owned(), "nothing was loaded", false);
        (dir, found)
    }

    /// A process that runs until it is killed.
    fn alive() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    fn kill(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_ready_hides_no_killed_one_beside_it() {
        for ready_starts_first in [true, false] {
            let child = alive();
            let (killed, ready) = ((child.id(), IDLE), (1, IDLE));
            let starts = if ready_starts_first { [ready, killed] } else { [killed, ready] };
            let (_dir, found) = run_dir(&[starts[0], starts[1], (1, READY)]);
            assert!(matches!(found.look(), Ok(Look::Running { gone: false })));
            kill(child);
            assert!(matches!(found.look(), Ok(Look::Running { gone: true })));
        }
    }

    #[test]
    fn an_attempt_that_was_killed_before_this_stage_started_is_over() {
        let child = alive();
        let id = child.id();
        kill(child);
        let (_dir, found) = run_dir(&[(id, IDLE), (1, IDLE), (1, READY)]);
        assert!(matches!(found.look(), Ok(Look::Ready)));
        let (_dir, found) = run_dir(&[(id, IDLE)]);
        assert!(matches!(found.look(), Ok(Look::Running { gone: true })), "nothing took its place");
        assert_eq!(found.ending().unwrap_err().cause(), Some("az-decrypt"));
    }

    #[test]
    fn a_failure_is_over_only_if_another_process_started_later() {
        let (_dir, again) = run_dir(&[(1, IDLE), (1, FAILED), (2, IDLE), (2, READY)]);
        assert!(matches!(again.look(), Ok(Look::Ready)));
        let (_dir, beside) = run_dir(&[(1, IDLE), (2, IDLE), (1, FAILED), (2, READY)]);
        assert!(matches!(beside.look(), Ok(Look::Failed(_))));
        assert_eq!(beside.known_failure().unwrap().cause(), Some("az-decrypt"));
    }
}
