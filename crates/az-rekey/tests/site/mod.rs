//! A folder with keys and a sealed file, and az-rekey in it.

use loader_seal::{Header, Key, Metadata, SealOptions, Suite, seal};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) struct Site(TempDir);

impl Site {
    /// A folder with `a.key`, `b.key` and `c.key`.
    pub(crate) fn new() -> Self {
        // Below the target folder: the system's temporary folder may be in memory.
        let site = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        for name in ["a", "b", "c"] {
            let line = Key::generate().unwrap().to_text();
            fs::write(site.path(&format!("{name}.key")), line.as_bytes()).unwrap();
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::parse(&fs::read_to_string(self.path(&format!("{name}.key"))).unwrap()).unwrap()
    }

    /// The names in the folder that are no keys.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".key"));
        names.sort();
        names
    }

    /// `plain`, sealed for `keys`, with a remark of `comment_len` bytes in the header.
    pub(crate) fn sealed(&self, plain: &[u8], keys: &[&str], comment_len: usize) -> Vec<u8> {
        let comment = (comment_len > 0).then(|| "r".repeat(comment_len));
        let options = SealOptions {
            suite: Suite::AesGcm,
            segment_log2: 12,
            plaintext_len: Some(plain.len() as u64),
            metadata: Metadata { name: Some("models/a".to_owned()), comment, ..Metadata::default() },
            spare_slots: 0,
            threads: 1,
        };
        let keys: Vec<Key> = keys.iter().map(|name| self.key(name)).collect();
        let mut sealed = Vec::new();
        seal(&mut &*plain, &mut sealed, &keys, &options).unwrap();
        sealed
    }

    /// The plaintext for the key called `name`, or the code of what is wrong.
    pub(crate) fn open(&self, sealed: &[u8], name: &str) -> Result<Vec<u8>, &'static str> {
        let mut rest = sealed;
        let unlocked = Header::read(&mut rest).and_then(|header| header.unlock(&[self.key(name)]));
        let mut plain = Vec::new();
        unlocked.and_then(|unlocked| unlocked.open(&mut rest, &mut plain, 1)).map_err(|error| error.code())?;
        Ok(plain)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_az-rekey"));
        command.args(args).current_dir(self.folder()).env_clear().env("HOME", "/nonexistent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        // A filter that refuses its command line reads nothing.
        let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Runs and gives the event with this step.
    #[track_caller]
    pub(crate) fn step(&self, args: &[&str], step: &str) -> Value {
        let output = self.run(args, b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let mut events = stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.find(|event| event["step"] == step).unwrap()["detail"].clone()
    }
}

#[track_caller]
pub(crate) fn refused(output: &Output, status: i32, code: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    assert!(!stderr.contains("AZ-SECRET") && output.stdout.is_empty(), "{stderr}");
    stderr
}
