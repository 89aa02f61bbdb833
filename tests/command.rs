//! The binaries of the workspace as processes.

use crate::events::{self, Events};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The binary `name` beside the tests.
///
/// # Panics
/// Where it was not built; the message says which command does.
pub fn binary(name: &str) -> PathBuf {
    let path = binaries().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// `AZ_TEST_BIN_DIR`, else `target/debug`: this test runs from `target/debug/deps`.
fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("AZ_TEST_BIN_DIR") {
        return folder.into();
    }
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// `PATH` with the binaries in front of what is there.
pub fn path_variable() -> String {
    let rest = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    format!("{}:{rest}", binaries().display())
}

/// The filter `name` in an environment that holds nothing but `PATH`, a fixed
/// time, the name of the run and an empty home.
pub fn filter(name: &str) -> Command {
    clean(binary(name))
}

/// `script` in bash with pipefail, in the same environment.
pub fn bash(script: &str) -> Command {
    let mut command = clean("bash");
    command.args(["-o", "pipefail", "-c", script]);
    command
}

fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", path_variable())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("AZ_RUN", "test")
        .env("HOME", empty_home())
        .envs(profile())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Where a program that was built for it leaves what of it was reached.
pub fn profile() -> Option<(&'static str, OsString)> {
    const NAME: &str = "LLVM_PROFILE_FILE";
    std::env::var_os(NAME).map(|file| (NAME, file))
}

fn empty_home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit status, or the negative number of the signal that ended it.
    pub status: i32,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: String,
}

impl Finished {
    /// The event lines on standard error, each checked.
    pub fn events(&self) -> Events {
        events::parse(&self.stderr)
    }

    /// `error.code` of the final event.
    pub fn code(&self) -> String {
        self.events().error_code().unwrap_or_default()
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or_default()),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs `command` with `input` on its standard input, to its end. A command that
/// leaves before it read all of `input` is no failure.
pub fn run(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

/// Says `line` past the harness, which keeps what a test that passes prints.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a line to a file that is this user's alone.
pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
