//! A folder to run a filter in.
#![allow(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder that goes away when dropped.
///
/// # Panics
/// Every method does where the system refuses: a test that cannot be set up has
/// failed.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// A folder below `place`, for which a test takes `CARGO_TARGET_TMPDIR`: the
    /// system's temporary folder may be in memory.
    pub fn below(place: &str) -> Self {
        Self(tempfile::tempdir_in(place).unwrap())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// What is called `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A file that its owner alone may open, as secrets must be.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        self.set_mode(name, 0o600);
    }

    /// Gives the file called `name` these permissions.
    pub fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// The permissions of the file called `name`, without its type.
    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// The content of the file called `name`.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// All names in it, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `program` in the folder, in an environment that holds a home without
    /// anything in it, its three standard streams pipes.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).env_clear().env("HOME", "/nonexistent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it with `stdin` to its end. A filter that leaves before it read all of
    /// that is no failure.
    pub fn run(&self, program: &str, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.command(program, args).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(input.write_all(stdin)));
            child.wait_with_output().unwrap()
        })
    }
}

/// Checks that a filter ended with `status` and an error of this `code`, gave
/// nothing out and told no secret. Gives its standard error.
///
/// # Panics
/// Where it did otherwise.
#[track_caller]
pub fn refused(output: &Output, status: i32, code: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    assert!(!["AZ-SECRET-KEY-1", "AZ-FRAG-1"].iter().any(|secret| stderr.contains(secret)), "{stderr}");
    assert!(output.stdout.is_empty(), "{} bytes with status {status}", output.stdout.len());
    stderr
}
