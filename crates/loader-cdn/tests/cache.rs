//! The cache: only whole entries, only checked ones, nothing outside its folder.
#![allow(clippy::unwrap_used)]

use loader_cdn::{Cache, Claim, Expected, Start, Survey, transfer};
use loader_model::ResourceName;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct Scratch(PathBuf);

impl Scratch {
    fn new(case: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loader-cdn-{case}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name() -> ResourceName {
    "models/v2/abc".parse().unwrap()
}

fn abc() -> Expected {
    Expected { size: Some(3), sha256: Some(SHA256_OF_ABC.to_owned()) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn missing(cache: &Cache) -> (loader_cdn::Partial, Option<String>) {
    match cache.claim(&name(), &abc(), &|| {}).unwrap() {
        Claim::Missing { partial, damaged } => (partial, damaged),
        Claim::Hit(_) => panic!("hit"),
    }
}

#[test]
fn an_entry_appears_whole_and_is_used_again() {
    let scratch = Scratch::new("whole");
    let cache = Cache::open(&scratch.path("cache")).unwrap();
    let entry = scratch.path("cache/models/v2/abc.big");
    let (mut partial, _) = missing(&cache);
    partial.write(b"abc").unwrap();
    assert!(!entry.exists() && scratch.path("cache/models/v2/abc.big.partial").exists());
    partial.commit().unwrap();
    assert!(!scratch.path("cache/models/v2/abc.big.partial").exists());
    assert_eq!(
        (mode(&entry), mode(&scratch.path("cache")), mode(&scratch.path("cache/models/v2"))),
        (0o600, 0o700, 0o700)
    );
    let Claim::Hit(mut hit) = cache.claim(&name(), &abc(), &|| {}).unwrap() else { panic!("missing") };
    let mut out = Vec::new();
    assert_eq!(hit.size(), 3);
    transfer("big part", &mut [&mut hit], &abc(), None, &mut out).unwrap();
    assert_eq!(out, b"abc");
}

#[test]
fn an_entry_in_the_making_leaves_nothing_when_dropped() {
    let scratch = Scratch::new("dropped");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = missing(&cache);
    partial.write(b"ab").unwrap();
    drop(partial);
    assert_eq!(fs::read_dir(scratch.path("models/v2")).unwrap().count(), 0);
}

#[test]
fn a_stale_partial_is_written_over() {
    let scratch = Scratch::new("stale");
    let cache = Cache::open(&scratch.0).unwrap();
    fs::create_dir_all(scratch.path("models/v2")).unwrap();
    fs::write(scratch.path("models/v2/abc.big.partial"), "left by a killed run").unwrap();
    let (mut partial, _) = missing(&cache);
    partial.write(b"abc").unwrap();
    partial.commit().unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
}

#[test]
fn an_entry_of_a_known_version_is_taken_up_by_a_later_run() {
    let scratch = Scratch::new("taken-up");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = missing(&cache);
    assert_eq!(partial.start(), Start::default());
    partial.pin(Some("\"v1\""));
    partial.write(b"ab").unwrap();
    drop(partial);
    let (mut partial, _) = missing(&cache);
    assert_eq!(partial.start(), Start { offset: 2, etag: Some("\"v1\"".to_owned()) });
    let (mut kept, mut out) = (partial.kept().unwrap(), Vec::new());
    transfer("kept", &mut [&mut kept], &Expected::default(), Some(&mut partial), &mut out).unwrap();
    assert_eq!(out, b"ab");
    partial.write(b"c").unwrap();
    partial.commit().unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(fs::read_dir(scratch.path("models/v2")).unwrap().count(), 1);
}

#[test]
fn what_is_left_of_another_release_is_not_taken_up() {
    let scratch = Scratch::new("other-release");
    let cache = Cache::open(&scratch.0).unwrap();
    let other = Expected { size: Some(3), sha256: Some("00".repeat(32)) };
    let Claim::Missing { mut partial, .. } = cache.claim(&name(), &other, &|| {}).unwrap() else { panic!("hit") };
    partial.pin(Some("\"v1\""));
    partial.write(b"xy").unwrap();
    drop(partial);
    assert_eq!(missing(&cache).0.start(), Start::default());
}

#[test]
fn a_small_part_is_kept_as_it_came() {
    let scratch = Scratch::new("small");
    let cache = Cache::open(&scratch.0).unwrap();
    assert_eq!(cache.small(&name(), 100).unwrap(), None);
    cache.keep_small(&name(), b"sealed").unwrap();
    assert_eq!(cache.small(&name(), 100).unwrap().unwrap(), b"sealed");
    assert!(cache.entry(&name(), &abc()).unwrap().is_none());
}

#[test]
fn a_damaged_entry_is_moved_aside() {
    for (case, bytes) in [("flipped", "abd"), ("cut", "ab"), ("empty", "")] {
        let scratch = Scratch::new(case);
        let cache = Cache::open(&scratch.0).unwrap();
        fs::create_dir_all(scratch.path("models/v2")).unwrap();
        fs::write(scratch.path("models/v2/abc.big"), bytes).unwrap();
        let (_partial, damaged) = missing(&cache);
        let aside = scratch.path("models/v2/abc.big.damaged");
        assert_eq!(damaged.as_deref(), aside.to_str());
        assert_eq!(fs::read(aside).unwrap(), bytes.as_bytes());
        assert!(!scratch.path("models/v2/abc.big").exists());
    }
}

#[test]
fn links_lead_nowhere() {
    let scratch = Scratch::new("links");
    fs::create_dir(scratch.path("outside")).unwrap();
    fs::write(scratch.path("outside/abc.big"), "abc").unwrap();
    let cache = Cache::open(&scratch.path("cache")).unwrap();
    symlink(scratch.path("outside"), scratch.path("cache/models")).unwrap();
    assert!(cache.claim(&name(), &abc(), &|| {}).is_err());
    fs::remove_file(scratch.path("cache/models")).unwrap();

    fs::create_dir_all(scratch.path("cache/models/v2")).unwrap();
    symlink(scratch.path("outside/abc.big"), scratch.path("cache/models/v2/abc.big")).unwrap();
    let (partial, damaged) = missing(&cache);
    assert!(damaged.is_some());
    drop(partial);
    symlink(scratch.path("outside/new"), scratch.path("cache/models/v2/abc.big.partial")).unwrap();
    assert!(cache.claim(&name(), &abc(), &|| {}).is_err());
    assert!(!scratch.path("outside/new").exists());
}

#[test]
fn a_second_fetch_waits_and_uses_what_the_first_got() {
    let scratch = Scratch::new("second");
    let root = scratch.0.clone();
    let (mut partial, _) = missing(&Cache::open(&root).unwrap());
    let (waits, waiting) = mpsc::channel();
    let second = std::thread::spawn(move || {
        let cache = Cache::open(&root).unwrap();
        let claim = cache.claim(&name(), &abc(), &|| waits.send(()).unwrap()).unwrap();
        matches!(claim, Claim::Hit(_))
    });
    waiting.recv().unwrap();
    partial.write(b"abc").unwrap();
    partial.commit().unwrap();
    assert!(second.join().unwrap());
}

#[test]
fn a_survey_knows_each_kind_of_file() {
    let scratch = Scratch::new("survey");
    assert_eq!(Survey::of(&scratch.path("none")).unwrap(), None);
    fs::create_dir_all(scratch.path("models/a")).unwrap();
    let files =
        ["z.big", "z.small", "a/y.big", "b.big.partial", "b.big.state", "z.big.damaged", "z.small.new", "-.big"];
    for file in files {
        fs::write(scratch.path("models").join(file), "1234").unwrap();
    }
    symlink("/", scratch.path("link")).unwrap();
    let mut survey = Survey::of(&scratch.path("")).unwrap().unwrap();
    survey.foreign.sort();
    let entries: Vec<_> = survey.entries.iter().map(ResourceName::as_str).collect();
    assert_eq!((entries, survey.bytes), (vec!["models/a/y", "models/z"], 4 * files.len() as u64));
    assert_eq!(
        (&survey.unfinished[..], &survey.damaged[..]),
        (&["models/b.big.partial".to_owned()][..], &["models/z.big.damaged".to_owned()][..])
    );
    assert_eq!(survey.foreign, ["link", "models/-.big", "models/z.small.new"]);
}
