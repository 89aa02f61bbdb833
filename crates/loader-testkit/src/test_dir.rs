//! Temporary directory to run a filter in.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Directory that is removed on drop.
///
/// # Panics
/// Every method panics on an I/O error: a test whose setup fails has failed.
#[derive(Debug)]
pub struct TestDir(TempDir);

impl TestDir {
    /// Creates a directory in `parent`. Tests use `CARGO_TARGET_TMPDIR`, because the
    /// system's temporary directory may be in memory.
    pub fn new_in(parent: &str) -> Self {
        Self(tempfile::tempdir_in(parent).unwrap())
    }

    /// Returns the path of the directory.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of the entry `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file that only its owner may read, as required for secrets.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        self.set_mode(name, 0o600);
    }

    /// Sets the permissions of the file `name`.
    pub fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Returns the permission bits of the file `name`.
    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// Returns the content of the file `name`.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Returns all names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns a command for `program` that runs in the directory, with pipes as standard
    /// streams and an environment that contains only a nonexistent home directory.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).env_clear().env("HOME", "/nonexistent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `program` to its end with `stdin` as standard input. A filter that ends before
    /// it has read all of it is not an error.
    pub fn run(&self, program: &str, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.command(program, args).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(input.write_all(stdin)));
            child.wait_with_output().unwrap()
        })
    }
}

/// Asserts that a filter ended with `status` and an error event with this `code`, wrote
/// nothing to standard output, and printed no secret. Returns its standard error.
///
/// # Panics
/// If an assertion fails.
#[track_caller]
pub fn assert_refused(output: &Output, status: i32, code: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    assert!(!["AZ-SECRET-KEY-1", "AZ-FRAG-1"].iter().any(|secret| stderr.contains(secret)), "{stderr}");
    assert!(output.stdout.is_empty(), "{} bytes with status {status}", output.stdout.len());
    stderr
}
