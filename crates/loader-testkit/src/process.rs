//! Commands that run to their end.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use serde_json::Value;
use std::borrow::BorrowMut;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Result of a process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status, or the negative number of the signal that ended the process.
    pub status: i32,
    /// Complete standard output.
    pub stdout: Vec<u8>,
    /// Complete standard error.
    pub stderr: String,
}

impl Finished {
    /// Returns standard output as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Returns standard output as JSON, or null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_default()
    }
}

impl From<Output> for Finished {
    /// # Panics
    /// If standard error is not UTF-8.
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or_default()),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs `command` to its end with `input` as standard input. A command that ends before it
/// has read all of `input` is not an error. Standard output and standard error are pipes
/// unless they were set.
///
/// # Panics
/// If the command cannot be started.
pub fn run(mut command: impl BorrowMut<Command>, input: &[u8]) -> Finished {
    let command = command.borrow_mut();
    let child = command.stdin(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

/// Calls `work` for each number in `0..count` on `workers` threads. Each thread has its own
/// value of `start`.
pub fn run_concurrently<T>(count: u64, workers: u64, start: impl Fn() -> T + Sync, work: impl Fn(&T, u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(count) {
            scope.spawn(|| {
                let own = start();
                let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                numbers.take_while(|number| *number < count).for_each(|number| work(&own, number));
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[test]
    fn output_and_status_are_returned() {
        let finished = run(shell("cat; echo failed >&2; exit 3"), b"{\"a\":1}");
        assert_eq!((finished.status, finished.stderr.as_str()), (3, "failed\n"));
        assert_eq!((finished.text().as_str(), finished.json()["a"].as_u64()), ("{\"a\":1}", Some(1)));
        assert_eq!(run(shell("kill -9 $$"), b"").status, -9);
    }

    #[test]
    fn input_that_is_not_read_is_no_error() {
        assert_eq!(run(shell("exit 0"), &vec![0; 1 << 20]).status, 0);
    }

    #[test]
    fn every_number_is_worked_on_once() {
        let sum = AtomicU64::new(0);
        run_concurrently(
            100,
            3,
            || 1,
            |one, number| {
                sum.fetch_add(one + number, Ordering::Relaxed);
            },
        );
        assert_eq!(sum.into_inner(), 100 + 99 * 100 / 2);
    }
}
