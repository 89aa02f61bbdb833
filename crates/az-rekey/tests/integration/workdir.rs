//! Temporary directory with keys and sealed files, in which az-rekey is run.

use loader_model::{Coded, Description};
use loader_seal::{Header, Key, Metadata, SealOptions, Suite, seal};
use loader_testkit::Finished;
use loader_testkit::test_dir::TestDir;
use serde_json::Value;
use std::ops::Deref;
use std::process::Command;

const AZ_REKEY: &str = env!("CARGO_BIN_EXE_az-rekey");

pub(crate) struct WorkDir(TestDir);

impl Deref for WorkDir {
    type Target = TestDir;

    fn deref(&self) -> &TestDir {
        &self.0
    }
}

impl WorkDir {
    /// Creates a directory with `a.key`, `b.key` and `c.key`.
    pub(crate) fn new() -> Self {
        let dir = Self(TestDir::new_in(env!("CARGO_TARGET_TMPDIR")));
        for name in ["a", "b", "c"] {
            dir.write(&format!("{name}.key"), Key::generate().unwrap().to_text().as_bytes());
        }
        dir
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::parse(str::from_utf8(&self.read(&format!("{name}.key"))).unwrap()).unwrap()
    }

    /// Returns the names in the directory, without key files.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        names.retain(|name| !name.ends_with(".key"));
        names
    }

    /// Seals `plain` for `keys`, with a comment of `comment_len` bytes in the header.
    pub(crate) fn sealed(&self, plain: &[u8], keys: &[&str], comment_len: usize) -> Vec<u8> {
        let comment = (comment_len > 0).then(|| "r".repeat(comment_len));
        let options = SealOptions {
            suite: Suite::AesGcm,
            segment_log2: 12,
            plaintext_len: Some(plain.len() as u64),
            metadata: Metadata {
                description: Description { name: Some("models/a".to_owned()), ..Description::default() },
                comment,
                ..Metadata::default()
            },
            spare_slots: 0,
            threads: 1,
        };
        let keys: Vec<Key> = keys.iter().map(|name| self.key(name)).collect();
        let mut sealed = Vec::new();
        seal(&mut &*plain, &mut sealed, &keys, &options).unwrap();
        sealed
    }

    /// Opens a sealed file with the key `name`. Returns the plaintext or the error code.
    pub(crate) fn open(&self, sealed: &[u8], name: &str) -> Result<Vec<u8>, &'static str> {
        let mut rest = sealed;
        let unlocked = Header::read(&mut rest).and_then(|header| header.unlock(&[self.key(name)]));
        let mut plain = Vec::new();
        unlocked.and_then(|unlocked| unlocked.open(&mut rest, &mut plain, 1)).map_err(|error| error.code().as_str())?;
        Ok(plain)
    }

    pub(crate) fn run(&self, args: &[&str], stdin: &[u8]) -> Finished {
        self.0.run(AZ_REKEY, args, stdin)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.0.command(AZ_REKEY, args)
    }

    /// Runs az-rekey successfully, and returns the detail of the event with this step.
    #[track_caller]
    pub(crate) fn step(&self, args: &[&str], step: &str) -> Value {
        let output = self.run(args, b"");
        let stderr = output.stderr;
        assert_eq!(output.status, 0, "{stderr}");
        let mut events = stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.find(|event| event["step"] == step).unwrap()["detail"].clone()
    }
}
