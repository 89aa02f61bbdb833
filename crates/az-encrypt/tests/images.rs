//! Sealing archives of images from a file: az-encrypt refuses archives that az-load would
//! refuse, and lists the images in the header.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
#![allow(dead_code, reason = "the module serves several tests")]

#[path = "../../loader-archive/tests/sample/mod.rs"]
mod sample;

use loader_seal::{Header, Key};
use loader_testkit::test_dir::TestDir;
use sample::{SMALL, Sample, Tar, config, layer, sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory with a key and an archive.
struct Case {
    dir: TestDir,
    key: Key,
}

struct Ran {
    exit: Option<i32>,
    stderr: String,
    sealed: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (dir, key) = (TestDir::new(), Key::from_bytes([7; 32]));
        dir.write("key", key.to_text().as_bytes());
        Self { dir, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_az-encrypt"));
        for name in ["AZ_RUN", "AZ_RUN_DIR", "AZ_EVENTS", "AZ_KEY_FILE", "SOURCE_DATE_EPOCH"] {
            command.env_remove(name);
        }
        command.arg("--key-file").arg(self.path("key")).args(options);
        command
    }

    /// Seals `archive` from a file.
    fn seal(&self, archive: &[u8], options: &[&str]) -> Ran {
        std::fs::write(self.path("images.tar"), archive).unwrap();
        let out = self.path("out");
        let _ = std::fs::remove_file(&out);
        let output = self.command(options).arg(self.path("images.tar")).arg("-o").arg(&out).output().unwrap();
        let sealed = std::fs::read(&out).unwrap_or_default();
        Ran { exit: output.status.code(), stderr: String::from_utf8(output.stderr).unwrap(), sealed }
    }

    /// Returns the list of images in the header of `sealed`.
    fn list(&self, sealed: &[u8]) -> Option<String> {
        let header = Header::read(&mut &sealed[..]).unwrap();
        header.unlock(std::slice::from_ref(&self.key)).unwrap().metadata().description.images.clone()
    }
}

/// Returns an archive of one image with this layer, as `docker save` writes it.
fn archive(layer: &[u8], layer_of_config: &[u8], architecture: &str) -> Vec<u8> {
    let config = String::from_utf8(config(&[layer_of_config])).unwrap().replace("amd64", architecture);
    let name = format!("{}.json", sha256(config.as_bytes()));
    let mut tar = Tar::new();
    tar.file(&name, config.as_bytes()).file("1/layer.tar", layer);
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["app:1"],"Layers":["1/layer.tar"]}}]"#);
    tar.file("manifest.json", manifest.as_bytes());
    tar.end()
}

/// Returns archives that az-load refuses, each with its name and a part of the error text.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (good, other) = (layer("good", 2000), layer("other", 2000));
    let whole = SMALL.legacy();
    let flip = |what: &[u8], offset: usize| {
        let at = whole.windows(what.len()).position(|window| window == what).unwrap() + offset;
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    vec![
        ("another layer", archive(&other, &good, "amd64"), "its SHA-256 is"),
        (
            "a layer whose diff_id is the digest of the compressed bytes",
            archive(&sample::gzip(&good), &sample::gzip(&good), "amd64"),
            "uncompressed",
        ),
        ("truncated", whole[..whole.len() - 600].to_vec(), "the archive ends at byte"),
        ("a flipped bit in a config", flip(b"\"architecture\"", 18), "its SHA-256 is"),
        ("trailing bytes", [&whole[..], b"garbage"].concat(), "followed by other bytes"),
        ("a duplicate key", archive(&good, &good, "amd64\",\"os\":\"linux"), "is there twice"),
    ]
}

#[test]
fn archives_that_az_load_refuses_are_refused_without_force() {
    let case = Case::new();
    for (what, bytes, why) in refused() {
        let ran = case.seal(&bytes, &[]);
        assert_eq!(ran.exit, Some(65), "{what}: {}", ran.stderr);
        let last = ran.stderr.lines().last().unwrap();
        assert!(last.contains("az-load would refuse it") && last.contains(why), "{what}: {last}");
        assert!(last.contains("seal it all the same with --force"), "{what}: {last}");
        assert!(!case.path("out").exists(), "{what}");

        let ran = case.seal(&bytes, &["--force"]);
        assert_eq!(ran.exit, Some(0), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("\"images-not-recorded\"") && ran.stderr.contains(why), "{what}: {}", ran.stderr);
        assert_eq!(case.list(&ran.sealed), None, "{what}");

        let ran = case.seal(&bytes, &["--force", "--require-images"]);
        assert_eq!(ran.exit, Some(65), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("no list of images") && !case.path("out").exists(), "{what}: {}", ran.stderr);
    }
}

#[test]
fn require_images_fails_without_a_list() {
    let case = Case::new();
    let ran = case.seal(&SMALL.legacy(), &["--require-images"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let list = case.list(&ran.sealed).unwrap();
    assert!(
        list.contains(r#""tags":["app:1.4","app:latest"]"#) && list.contains(r#""platform":"linux/amd64""#),
        "{list}"
    );

    let ran = case.seal(b"no archive at all", &["--require-images"]);
    assert_eq!(ran.exit, Some(65), "{}", ran.stderr);
    assert!(ran.stderr.contains("no list of images"));
    assert_eq!(case.seal(b"no archive at all", &[]).exit, Some(0));

    // A pipe is not read twice.
    let pipe = |options: &[&str]| {
        let input = File::open(case.path("images.tar")).unwrap();
        let mut cat = Command::new("cat").stdin(input).stdout(Stdio::piped()).spawn().unwrap();
        let output = case.command(options).stdin(cat.stdout.take().unwrap()).output().unwrap();
        cat.wait().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (exit, stderr) = pipe(&["--require-images"]);
    assert!(exit == Some(65) && stderr.contains("a pipe is read once"), "{stderr}");
    assert_eq!(pipe(&[]).0, Some(0));
}

#[test]
fn the_platform_is_recorded() {
    let case = Case::new();
    let good = layer("good", 2000);
    let ran = case.seal(&archive(&good, &good, "arm64"), &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let list = case.list(&ran.sealed).unwrap();
    assert!(list.contains(r#""platform":"linux/arm64""#), "{list}");
}

#[test]
fn layers_that_old_engines_cannot_read_are_reported() {
    let case = Case::new();
    let good = layer("good", 2000);
    let ran = case.seal(&archive(&zstd::encode_all(&good[..], 3).unwrap(), &good, "amd64"), &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let step = r#""step":"engine-limits","detail":{"why":"Docker before 23 cannot read zstd layers"}"#;
    assert!(ran.stderr.contains(step), "{}", ran.stderr);
    // The archive as a whole is decompressed by az-load itself.
    let ran = case.seal(&zstd::encode_all(&SMALL.legacy()[..], 3).unwrap(), &["--require-images"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("engine-limits"), "{}", ran.stderr);
    // The content of an xz file is unknown, so it is sealed with a warning.
    let mut xz = b"\xfd7zXZ\0".to_vec();
    xz.resize(1024, 0);
    let ran = case.seal(&xz, &[]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("\"images-not-recorded\"") && ran.stderr.contains("compressed with xz"),
        "{}",
        ran.stderr
    );
}

/// Writes an archive with a file that no digest covers. Returns its path and the offset of
/// the content of that file.
fn archive_with_note(dir: &Path, len: usize) -> (PathBuf, u64) {
    let bytes = Sample { one: "app", two: "web", len }.legacy();
    let note = [b'.'; 512];
    let mut tar = Tar::new();
    tar.file("note", &note);
    let mut all = tar.end();
    all.truncate(1024);
    all.extend(bytes);
    let path = dir.join("noted.tar");
    std::fs::write(&path, all).unwrap();
    (path, 512)
}

/// The output is a pipe that is read after the change, so that the second pass waits.
#[test]
fn file_that_changes_between_the_passes_is_not_sealed() {
    let case = Case::new();
    // The second pass has read only as many bytes as fit in the pipe, so it has not reached the last byte.
    let bytes = Sample { one: "app", two: "web", len: 4 << 20 }.legacy();
    let path = case.path("changed.tar");
    std::fs::write(&path, &bytes).unwrap();
    let mut command = case.command(&["--content-type", "application/x-docker-archive"]);
    let mut child = command.arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"images-recorded\"")));
    let at = bytes.len() as u64 - 1;
    File::options().write(true).open(&path).unwrap().write_all_at(b"x", at).unwrap();
    let mut sealed = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut sealed).unwrap();
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(65), "{last}");
    assert!(last.contains("\"code\":\"changed\"") && last.contains("changed while it was sealed"), "{last}");
    let mut opened = Vec::new();
    let mut sealed = &sealed[..];
    let header = Header::read(&mut sealed).unwrap();
    let unlocked = header.unlock(std::slice::from_ref(&case.key)).unwrap();
    assert!(unlocked.open(&mut sealed, &mut opened, 1).is_err(), "the output is a complete file");
}

/// Another thread writes to the file during the whole run.
#[test]
fn file_that_changes_leaves_no_output() {
    let case = Case::new();
    let (path, at) = archive_with_note(case.dir.root(), 4 << 20);
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(&path).unwrap();
            let mut count = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                count += 1;
                file.write_all_at(&count.to_le_bytes(), at).unwrap();
            }
        });
        let mut command = case.command(&["--content-type", "application/x-docker-archive"]);
        let output = command.arg(&path).arg("-o").arg(case.path("out")).output();
        // Before anything can panic: the scope waits for the writer.
        ended.store(true, Ordering::Relaxed);
        output.unwrap()
    });
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{stderr}");
    assert!(stderr.contains("\"code\":\"changed\""), "{stderr}");
    let left: Vec<_> = std::fs::read_dir(case.dir.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "expected only the key and the archive: {left:?}");
}
