//! Engines that fail after the commit: the tags are as before.

use crate::engines::{Engine, docker, unique};
use crate::layouts::{Image, cannot_be_unpacked, legacy};
use crate::sample::layer;
use std::process::Command;

/// Names of a case; each has an image of its own in the archives.
struct Case {
    new: String,
    moved: String,
    bad: String,
}

impl Case {
    fn new() -> Self {
        let name = |what| format!("{}:1", unique(what));
        Self { new: name("new"), moved: name("moved"), bad: name("bad") }
    }

    fn remove(&self, engine: &Engine) {
        for tag in [&self.new, &self.moved, &self.bad] {
            engine.remove(tag);
        }
    }
}

/// The second image is refused after the first one has two tags, one of them another
/// image's until now.
fn second_image_is_refused(engine: &Engine, second: &[&[u8]], exit: i32, first_len: usize) {
    let case = Case::new();
    let old = Image::new(&[&case.moved], &[&layer(&case.moved, 2000)]);
    let ran = engine.load(&legacy(std::slice::from_ref(&old)), |command| command);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let before = engine.id(&case.moved).unwrap();

    let base = layer(&case.new, first_len);
    let first = Image::new(&[&case.new, &case.moved], &[&base]);
    let layers: Vec<&[u8]> = [&base[..]].into_iter().chain(second.iter().copied()).collect();
    let bad = Image::new(&[&case.bad], &layers);
    let ids = [first.id(), bad.id()];
    let ran = engine.load(&legacy(&[first, bad]), |command| command);
    assert_eq!(ran.exit, Some(exit), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains("could not be restored"), "{}", ran.stderr);
    assert!(!engine.has(&case.new) && !engine.has(&case.bad), "new tags are left");
    assert_eq!(engine.id(&case.moved), Some(before), "the tag that moved");
    assert!(!engine.has("az-load-kept"), "a temporary name is left");
    if !engine.uses_containerd() {
        assert!(ids.iter().all(|id| !engine.has(id)), "an image without a name is left");
    }

    // The tags can be moved once nothing is in the way.
    let first = Image::new(&[&case.new, &case.moved], &[&base]);
    let ran = engine.load(&legacy(&[first]), |command| command);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert_eq!(engine.id(&case.moved), engine.id(&case.new));
    assert!(!engine.has("az-load-kept"), "a temporary name is left");
    case.remove(engine);
    engine.remove(&old.id());
}

#[test]
fn docker_refuses_the_second_image() {
    let Some(engine) = docker() else { return };
    second_image_is_refused(&engine, &[&cannot_be_unpacked(&unique("layer"))], 76, 3000);
}

#[test]
fn podman_refuses_the_second_image() {
    if docker().is_none() {
        return;
    }
    let Some(engine) = Engine::podman() else { return };
    second_image_is_refused(&engine, &[&cannot_be_unpacked(&unique("layer"))], 76, 3000);
}

/// Each layer of an image is copied with all below it (vfs): the archive fits, and the
/// first image, but not the second one.
#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn the_disk_is_full_at_the_second_image() {
    if docker().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(root.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    match Engine::dockerd(root.path()) {
        None => eprintln!("skipped: no second dockerd starts here"),
        Some(engine) => {
            let big: Vec<Vec<u8>> = (0..3).map(|n| layer(&format!("{n}-{}", unique("layer")), 3_000_000)).collect();
            let big: Vec<&[u8]> = big.iter().map(|layer| &layer[..]).collect();
            second_image_is_refused(&engine, &big, 74, 1_000_000);
        }
    }
    let _ = Command::new("umount").arg(root.path()).status();
}
