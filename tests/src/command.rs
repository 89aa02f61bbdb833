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

/// Returns the path of the binary `name` in the target directory.
///
/// # Panics
/// If it was not built. The message contains the command that builds it.
pub fn binary(name: &str) -> PathBuf {
    let path = binaries().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// Returns `AZ_TEST_BIN_DIR`, or `target/debug` by default: this test runs in
/// `target/debug/deps`.
fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("AZ_TEST_BIN_DIR") {
        return folder.into();
    }
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Returns `PATH` with the directory of the binaries prepended.
pub fn path_variable() -> String {
    let rest = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    format!("{}:{rest}", binaries().display())
}

/// Returns a command for the filter `name`. Its environment contains only `PATH`, a fixed
/// time, the run id and an empty home directory.
pub fn filter(name: &str) -> Command {
    clean(binary(name))
}

/// Returns a command that runs `script` in bash with pipefail, with the environment of
/// [`filter`].
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

/// Returns the variable for the coverage profile of an instrumented binary.
pub fn profile() -> Option<(&'static str, OsString)> {
    const NAME: &str = "LLVM_PROFILE_FILE";
    std::env::var_os(NAME).map(|file| (NAME, file))
}

fn empty_home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

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
    /// Parses and checks the event lines on standard error.
    pub fn events(&self) -> Events {
        events::parse(&self.stderr)
    }

    /// Returns `error.code` of the final event.
    pub fn code(&self) -> String {
        self.events().error_code().unwrap_or_default()
    }

    /// Returns standard output as text.
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

/// Runs `command` to its end with `input` as standard input. A command that ends before it
/// has read all of `input` is not an error.
pub fn run(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

/// Prints `line` directly: the test harness hides the output of tests that pass.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a line to a file that only this user may read.
pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    set_mode(path, 0o600);
}

/// Sets the permissions of a file.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns the names in a directory, sorted.
pub fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
