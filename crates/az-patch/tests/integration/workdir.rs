//! Temporary directory with keys, releases and patches, in which az-patch is run.

use loader_model::Description;
use loader_pack::{PackOptions, PackedFile, Verify, pack, unpack};
use loader_patch::{DiffOptions, diff};
use loader_seal::{Header, Key, Metadata, SealOptions, SealedWriter};
use loader_testkit::Finished;
use loader_testkit::test_dir::TestDir;
use serde_json::Value;
use std::io::{Cursor, Write};
use std::ops::Deref;
use std::process::Command;

const AZ_PATCH: &str = env!("CARGO_BIN_EXE_az-patch");

pub(crate) struct WorkDir(TestDir);

impl Deref for WorkDir {
    type Target = TestDir;

    fn deref(&self) -> &TestDir {
        &self.0
    }
}

/// Returns the content of a release: noise, of which each release changes a little.
pub(crate) fn content(release: u64) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut content: Vec<u8> = std::iter::repeat_with(next).take(9_000_000).collect();
    for at in (0..content.len()).step_by(2_000_000) {
        content[at..at + 8].copy_from_slice(&release.to_be_bytes());
    }
    content.extend(format!("the end of release {release}").into_bytes());
    content
}

fn description(release: u64) -> Description {
    Description { name: Some("images/app".to_owned()), release: Some(release), ..Description::default() }
}

pub(crate) fn packed(release: u64) -> Vec<u8> {
    let mut packed = Vec::new();
    let options = PackOptions { level: 1, description: description(release), threads: 2 };
    pack(&mut &content(release)[..], &mut packed, &options).unwrap();
    packed
}

/// Returns the plaintext of the patch from release `old` to release `new`.
pub(crate) fn patch(old: u64, new: u64) -> Vec<u8> {
    let open = |release| PackedFile::open(Cursor::new(packed(release))).unwrap();
    let (old, new) = (open(old), open(new));
    let (old_id, statement) = (old.statement().release_id(), new.statement_bytes().to_vec());
    let (mut old, mut new) = (old.into_reader(2).unwrap(), new.into_reader(2).unwrap());
    let mut patch = Vec::new();
    let options = DiffOptions { level: 3, threads: 1 };
    diff(&mut old, &old_id, &mut new, &statement, &mut patch, &options, |_| {}).unwrap();
    patch
}

impl WorkDir {
    /// Creates a directory with `a.key` and `b.key`.
    pub(crate) fn new() -> Self {
        let dir = Self(TestDir::new_in(env!("CARGO_TARGET_TMPDIR")));
        for name in ["a", "b"] {
            dir.write(&format!("{name}.key"), Key::generate().unwrap().to_text().as_bytes());
        }
        dir
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::parse(str::from_utf8(&self.read(&format!("{name}.key"))).unwrap()).unwrap()
    }

    /// Seals `plaintext` of `encoding` about `release`, for `keys`.
    pub(crate) fn seal(&self, plaintext: &[u8], encoding: &str, release: u64, keys: &[&str]) -> Vec<u8> {
        let metadata =
            Metadata { description: description(release), encoding: Some(encoding.to_owned()), ..Metadata::default() };
        let options = SealOptions { segment_log2: 16, metadata, ..SealOptions::default() };
        let keys: Vec<_> = keys.iter().map(|name| self.key(name)).collect();
        let mut sealed = Vec::new();
        let mut writer = SealedWriter::new(&mut sealed, &keys, &options).unwrap();
        writer.write_all(plaintext).unwrap();
        writer.finish().unwrap();
        sealed
    }

    /// Returns a release that is sealed for `keys`.
    pub(crate) fn release(&self, release: u64, keys: &[&str]) -> Vec<u8> {
        self.seal(&packed(release), "zstd", release, keys)
    }

    /// Returns the sealed patch from release `old` to release `new`.
    pub(crate) fn patch(&self, old: u64, new: u64) -> Vec<u8> {
        self.seal(&patch(old, new), "patch", new, &["a"])
    }

    /// Returns the content of the sealed file `name`, opened with the key `key`.
    pub(crate) fn open(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        let file = self.read(name);
        let mut rest = &file[..];
        let unlocked = Header::read(&mut rest).unwrap().unlock(&[self.key(key)]).ok()?;
        let mut content = Vec::new();
        let statement =
            unpack(&mut unlocked.opened_stream(rest).unwrap(), &mut content, Verify::PiecesAndContent, 1).unwrap();
        let metadata = unlocked.metadata();
        assert_eq!(statement.difference(&metadata.description, metadata.content_len), None);
        Some(content)
    }

    /// Returns the names in the directory, without key files.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        names.retain(|name| !name.ends_with(".key"));
        names
    }

    pub(crate) fn run(&self, args: &[&str], stdin: &[u8]) -> Finished {
        self.0.run(AZ_PATCH, args, stdin)
    }

    /// Returns a command for `line` in bash, which finds the program in `$AZ_PATCH`.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = self.0.command("/bin/bash", &["-c", line]);
        command.env("AZ_PATCH", AZ_PATCH);
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.0.command(AZ_PATCH, args)
    }
}

/// Returns the detail of the event with this step.
pub(crate) fn step(finished: &Finished, step: &str) -> Option<Value> {
    let mut events = finished.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.find(|event| event["step"] == step).map(|event| event["detail"].clone())
}
