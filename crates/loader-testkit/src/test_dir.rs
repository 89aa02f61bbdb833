//! Temporary directory to run a filter in.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use crate::{Finished, files, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Directory that is removed on drop.
///
/// # Panics
/// Every method panics on an I/O error: a test whose setup fails has failed.
#[derive(Debug)]
pub struct TestDir(TempDir);

impl Default for TestDir {
    fn default() -> Self {
        Self::new()
    }
}

impl TestDir {
    /// Creates a directory in the system's directory for temporary files.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Creates a directory in `parent`, such as `CARGO_TARGET_TMPDIR` for a test of durable
    /// files: the system's directory for temporary files may be in memory.
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
        files::write_secret(&self.path(name), bytes);
    }

    /// Sets the permissions of the file `name`.
    pub fn set_mode(&self, name: &str, mode: u32) {
        files::set_mode(&self.path(name), mode);
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
        files::file_names(self.root())
    }

    /// Returns a command for `program` that runs in the directory, with pipes as standard
    /// streams and an environment that contains only a nonexistent home directory.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).env_clear().env("HOME", "/nonexistent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `program` to its end with `stdin` as standard input.
    pub fn run(&self, program: &str, args: &[&str], stdin: &[u8]) -> Finished {
        run(self.command(program, args), stdin)
    }
}

/// Asserts that a filter ended with `status` and an error event with this `code`, wrote
/// nothing to standard output, and printed no secret. Returns its standard error.
///
/// # Panics
/// If an assertion fails.
#[track_caller]
pub fn assert_refused(finished: &Finished, status: i32, code: &str) -> String {
    let stderr = &finished.stderr;
    assert_eq!(finished.status, status, "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    assert!(!["AZ-SECRET-KEY-1", "AZ-FRAG-1"].iter().any(|secret| stderr.contains(secret)), "{stderr}");
    assert!(finished.stdout.is_empty(), "{} bytes with status {status}", finished.stdout.len());
    stderr.clone()
}
