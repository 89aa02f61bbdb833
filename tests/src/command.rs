//! The binaries of the workspace as processes.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
    if let Some(dir) = std::env::var_os("AZ_TEST_BIN_DIR") {
        return dir.into();
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

/// Prints `line` directly: the test harness hides the output of tests that pass.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
