//! The result of the previous stage of the pipeline, from its events in `AZ_RUN_DIR`.

use crate::{Failure, open_regular};
use loader_model::{ErrorCode, Event, EventError, Named, StageName, UnlockState};
use std::collections::BTreeSet;
use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest wait for the final event, which a stage writes (with an fsync) right after its
/// last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait if no process has the id of the writer. It is not zero because the id may
/// belong to another PID namespace.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two reads of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum length of a line in bytes; an event has at most 4 KiB.
const MAX_LINE_LEN: u64 = 64 * 1024;

/// Result of a previous stage that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamOutcome {
    /// It reported `ready`.
    Ready,
    /// It reported nothing, so its result is unknown.
    Unknown,
}

impl UpstreamOutcome {
    /// Returns the name in events, `ready` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unknown => "unknown",
        }
    }
}

/// Parses the name of a stage, which is also part of the name of its event file.
///
/// # Errors
/// A description of the expected form.
pub fn parse_stage_name(text: &str) -> Result<Named<StageName>, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_allowed) && !text.starts_with('.') {
        Ok(Named::from_name(text))
    } else {
        Err("expected the name of a stage, such as az-decrypt".to_owned())
    }
}

/// The event file of the previous stage.
#[derive(Debug)]
pub struct UpstreamEvents {
    path: PathBuf,
    stage: Named<StageName>,
    run: String,
    /// Consequence of its failure for this stage, such as `nothing was loaded`.
    consequence: &'static str,
    /// True if the user named the stage, so that its events must exist.
    required: bool,
    /// Indices of the processes in the file that had been killed before this stage started.
    killed_before: BTreeSet<usize>,
}

/// One process of the stage, according to its events. Lines are numbered from 0.
struct Process {
    pid: Option<u32>,
    first_line: usize,
    last_line: usize,
    /// Its result; `None` without a final event.
    end: Option<Result<(), Option<EventError>>>,
}

impl Process {
    /// Returns true if no process has its id any more.
    fn is_gone(&self) -> bool {
        self.pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    }
}

/// Combined status of all processes of the stage.
enum StageStatus {
    /// There are no events of the stage in this run.
    Absent,
    /// A process has no final event; `gone` if that process does not exist any more.
    Running {
        gone: bool,
    },
    Ready,
    Failed(Option<EventError>),
}

impl UpstreamEvents {
    /// Finds the event file of the previous stage by `AZ_RUN_DIR` and `AZ_RUN`. Returns
    /// `None` if `AZ_RUN_DIR` is not set. The stage is `after`, the name given by the user,
    /// whose events must exist, or else `default`. The text of a failure ends with
    /// `consequence`.
    ///
    /// # Errors
    /// `config` if `after` is given and `AZ_RUN_DIR` is not set, or if `AZ_RUN_DIR` is set
    /// and `AZ_RUN` is not.
    pub fn find(
        after: Option<&Named<StageName>>,
        default: StageName,
        consequence: &'static str,
    ) -> Result<Option<Self>, Failure> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let missing = |what: &str| {
            Err(Failure::new(ErrorCode::Config, what)
                .hint("export AZ_RUN=$(date +%s) AZ_RUN_DIR=/run/azaion before the pipeline".to_owned()))
        };
        let (dir, run) = match (set("AZ_RUN_DIR"), set("AZ_RUN")) {
            (Some(dir), Some(run)) => (dir, run),
            (Some(_), None) => {
                return missing("AZ_RUN_DIR is set, but AZ_RUN is not: the run of the previous stage is unknown");
            }
            (None, _) if after.is_some() => return missing("--after needs AZ_RUN_DIR and AZ_RUN"),
            (None, _) => return Ok(None),
        };
        let stage = after.cloned().unwrap_or(default.into());
        let path = Path::new(&dir).join(format!("{stage}.jsonl"));
        let run = run.to_string_lossy().into_owned();
        Ok(Some(Self::from_file(path, stage, run, consequence, after.is_some())))
    }

    fn from_file(
        path: PathBuf,
        stage: Named<StageName>,
        run: String,
        consequence: &'static str,
        required: bool,
    ) -> Self {
        let mut found = Self { path, stage, run, consequence, required, killed_before: BTreeSet::new() };
        // `wait_for_exit` reports a file that cannot be read.
        for (number, process) in found.processes().unwrap_or_default().iter().enumerate() {
            if process.end.is_none() && process.is_gone() {
                found.killed_before.insert(number);
            }
        }
        found
    }

    /// Waits for the final event of the stage, whose output has already ended.
    ///
    /// # Errors
    /// The failure in the final event; `temporary` if there is no final event.
    pub fn wait_for_exit(&self) -> Result<UpstreamOutcome, Failure> {
        let start = Instant::now();
        let mut gone_since = None;
        loop {
            match self.status()? {
                StageStatus::Ready => return Ok(UpstreamOutcome::Ready),
                StageStatus::Failed(error) => return Err(self.failure(error)),
                StageStatus::Absent if !self.required => return Ok(UpstreamOutcome::Unknown),
                StageStatus::Absent => {}
                StageStatus::Running { gone } => {
                    gone_since = if gone { gone_since.or(Some(Instant::now())) } else { None };
                }
            }
            if start.elapsed() > TIMEOUT || gone_since.is_some_and(|since| since.elapsed() > GONE_TIMEOUT) {
                let stage = &self.stage;
                let text = format!("{stage} wrote no final event to {}: it was killed", self.path.display());
                return Err(Failure::new(ErrorCode::Temporary, format_args!("{text}; {}", self.consequence))
                    .hint(
                        "check dmesg for out of memory, and the free space of that directory; then run it again"
                            .to_owned(),
                    )
                    .caused_by(stage));
            }
            sleep(POLL_INTERVAL);
        }
    }

    /// Returns the failure that the file contains so far, without waiting.
    pub fn known_failure(&self) -> Option<Failure> {
        match self.status() {
            Ok(StageStatus::Failed(error)) => Some(self.failure(error)),
            _ => None,
        }
    }

    fn failure(&self, error: Option<EventError>) -> Failure {
        // A code of a newer version is unclassified here, like a bug.
        let code = error.as_ref().map_or(ErrorCode::Truncated, |error| error.code.known().unwrap_or(ErrorCode::Bug));
        let message = error.as_ref().map_or("without a reason", |error| &error.message);
        let failure = Failure::new(code, format_args!("{} failed: {message}; {}", self.stage, self.consequence));
        failure.hint(error.and_then(|error| error.hint)).caused_by(&self.stage)
    }

    /// Returns the combined status of all processes of the stage in this run. An earlier
    /// attempt is ignored: one that failed before a later process started, or that was killed
    /// before this stage started and was replaced by a later process. Processes that ran
    /// concurrently must all be ready.
    fn status(&self) -> Result<StageStatus, Failure> {
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
            return Ok(StageStatus::Failed(error.take()));
        }
        let mut running = processes.iter().filter(|process| process.end.is_none()).peekable();
        Ok(match (running.peek().is_some(), processes.is_empty()) {
            (true, _) => StageStatus::Running { gone: running.any(Process::is_gone) },
            (false, false) => StageStatus::Ready,
            (false, true) => StageStatus::Absent,
        })
    }

    /// Returns the processes of the stage in this run, in the order of their first lines. The
    /// file may contain other runs.
    fn processes(&self) -> Result<Vec<Process>, Failure> {
        let mut processes: Vec<Process> = Vec::new();
        let file = match open_regular(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(processes),
            Err(error) => return Err(self.io(&error)),
        };
        let mut file = BufReader::new(file);
        for number in 0.. {
            let mut line = Vec::new();
            file.by_ref().take(MAX_LINE_LEN).read_until(b'\n', &mut line).map_err(|error| self.io(&error))?;
            if line.is_empty() {
                break;
            }
            // An incomplete line is read again the next time.
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
    #![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

    use super::*;
    use std::process::{Child, Command, Stdio};

    const IDLE: &str = r#""state":"idle""#;
    const READY: &str = r#""state":"ready""#;
    const FAILED: &str = r#""state":"error","error":{"code":"wrong_key","exit":79,"message":"no slot fits"}"#;

    fn run_dir(lines: &[(u32, &str)]) -> (::tempfile::TempDir, UpstreamEvents) {
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
        let found =
            UpstreamEvents::from_file(path, StageName::Decrypt.into(), "r".to_owned(), "nothing was loaded", false);
        (dir, found)
    }

    /// Starts a process that runs until it is killed.
    fn start_process() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    fn kill(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_ready_process_does_not_hide_a_killed_concurrent_one() {
        for ready_starts_first in [true, false] {
            let child = start_process();
            let (killed, ready) = ((child.id(), IDLE), (1, IDLE));
            let starts = if ready_starts_first { [ready, killed] } else { [killed, ready] };
            let (_dir, found) = run_dir(&[starts[0], starts[1], (1, READY)]);
            assert!(matches!(found.status(), Ok(StageStatus::Running { gone: false })));
            kill(child);
            assert!(matches!(found.status(), Ok(StageStatus::Running { gone: true })));
        }
    }

    #[test]
    fn an_attempt_killed_before_this_stage_started_is_ignored() {
        let child = start_process();
        let id = child.id();
        kill(child);
        let (_dir, found) = run_dir(&[(id, IDLE), (1, IDLE), (1, READY)]);
        assert!(matches!(found.status(), Ok(StageStatus::Ready)));
        let (_dir, found) = run_dir(&[(id, IDLE)]);
        assert!(matches!(found.status(), Ok(StageStatus::Running { gone: true })), "no process replaced it");
        assert_eq!(found.wait_for_exit().unwrap_err().cause(), Some(&StageName::Decrypt.into()));
    }

    #[test]
    fn a_failure_is_ignored_only_if_another_process_started_later() {
        let (_dir, later) = run_dir(&[(1, IDLE), (1, FAILED), (2, IDLE), (2, READY)]);
        assert!(matches!(later.status(), Ok(StageStatus::Ready)));
        let (_dir, concurrent) = run_dir(&[(1, IDLE), (2, IDLE), (1, FAILED), (2, READY)]);
        assert!(matches!(concurrent.status(), Ok(StageStatus::Failed(_))));
        assert_eq!(concurrent.known_failure().unwrap().cause(), Some(&StageName::Decrypt.into()));
    }
}
