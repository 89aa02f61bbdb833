//! Tests of the cache: only complete and verified entries, and nothing outside its directory.
#![allow(clippy::unwrap_used)]

use loader_cdn::{
    Cache, CacheLookup, CacheScan, ExpectedPart, PartialEntry, PreviousEntry, ResumePoint, SmallPartContext, transfer,
};
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

    /// Returns the sorted file names in the directory of the entry.
    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.path("models/v2")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
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

fn abc() -> ExpectedPart {
    ExpectedPart { size: Some(3), sha256: Some(SHA256_OF_ABC.to_owned()) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// For calls that never find a lock.
fn not_locked(_: &fs::File) -> std::io::Result<()> {
    panic!("no other process holds the lock")
}

fn give_up(_: &fs::File) -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::ResourceBusy, "locked by a test"))
}

fn miss(cache: &Cache) -> (PartialEntry, PreviousEntry) {
    miss_after(cache, None)
}

/// The same if the cached small part contains `recorded`.
fn miss_after(cache: &Cache, recorded: Option<&ExpectedPart>) -> (PartialEntry, PreviousEntry) {
    match cache.lookup(&name(), &abc(), &|| recorded.cloned(), &not_locked).unwrap() {
        CacheLookup::Miss { partial, previous } => (partial, previous),
        CacheLookup::Hit(_) => panic!("hit"),
    }
}

#[test]
fn entry_appears_complete_and_is_reused() {
    let scratch = Scratch::new("whole");
    let cache = Cache::open(&scratch.path("cache")).unwrap();
    let entry = scratch.path("cache/models/v2/abc.big");
    let (mut partial, _) = miss(&cache);
    partial.write(b"abc").unwrap();
    assert!(!entry.exists() && scratch.path("cache/models/v2/abc.big.partial").exists());
    partial.commit(b"sealed", &not_locked).unwrap();
    assert!(!scratch.path("cache/models/v2/abc.big.partial").exists());
    assert_eq!(
        (mode(&entry), mode(&scratch.path("cache")), mode(&scratch.path("cache/models/v2"))),
        (0o600, 0o700, 0o700)
    );
    let CacheLookup::Hit(mut hit) = cache.lookup(&name(), &abc(), &|| None, &not_locked).unwrap() else {
        panic!("miss")
    };
    let mut out = Vec::new();
    assert_eq!(hit.size(), 3);
    transfer("big part", &mut [&mut hit], &abc(), &mut |_| Ok(()), &mut out).unwrap();
    assert_eq!(out, b"abc");
}

#[test]
fn empty_unfinished_entry_is_removed() {
    let scratch = Scratch::new("dropped");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = miss(&cache);
    partial.set_etag(Some("\"v1\""));
    drop(partial);
    assert_eq!(fs::read_dir(scratch.path("models/v2")).unwrap().count(), 0);
    // The store sends no ETags; the digest decides in the end.
    (partial, _) = miss(&cache);
    partial.set_etag(None);
    partial.write(b"ab").unwrap();
    drop(partial);
    assert_eq!(miss(&cache).0.resume_point(), ResumePoint { offset: 2, etag: None });
}

#[test]
fn stale_partial_is_overwritten() {
    let scratch = Scratch::new("stale");
    let cache = Cache::open(&scratch.0).unwrap();
    fs::create_dir_all(scratch.path("models/v2")).unwrap();
    fs::write(scratch.path("models/v2/abc.big.partial"), "left by a killed run").unwrap();
    let (mut partial, _) = miss(&cache);
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
}

#[test]
fn unfinished_entry_of_a_known_version_is_resumed() {
    let scratch = Scratch::new("taken-up");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = miss(&cache);
    assert_eq!(partial.resume_point(), ResumePoint::default());
    partial.set_etag(Some("\"v1\""));
    partial.write(b"ab").unwrap();
    drop(partial);
    let (mut partial, _) = miss(&cache);
    assert_eq!(partial.resume_point(), ResumePoint { offset: 2, etag: Some("\"v1\"".to_owned()) });
    let (mut recorded, mut out) = (partial.resumed_bytes().unwrap(), Vec::new());
    transfer("recorded", &mut [&mut recorded], &ExpectedPart::default(), &mut |bytes| partial.write(bytes), &mut out)
        .unwrap();
    assert_eq!(out, b"ab");
    partial.write(b"c").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
}

#[test]
fn unfinished_entry_of_another_release_is_not_resumed() {
    let scratch = Scratch::new("other-release");
    let cache = Cache::open(&scratch.0).unwrap();
    let other = ExpectedPart { size: Some(3), sha256: Some("00".repeat(32)) };
    let CacheLookup::Miss { mut partial, .. } = cache.lookup(&name(), &other, &|| None, &not_locked).unwrap() else {
        panic!("hit")
    };
    partial.set_etag(Some("\"v1\""));
    partial.write(b"xy").unwrap();
    drop(partial);
    assert_eq!(miss(&cache).0.resume_point(), ResumePoint::default());
}

#[test]
fn small_part_does_not_replace_that_of_another_release() {
    let scratch = Scratch::new("small");
    let cache = Cache::open(&scratch.0).unwrap();
    let small = || cache.small_part(&name(), 100).unwrap();
    assert_eq!(small(), None);
    cache.store_small_part(&name(), b"alone", &SmallPartContext::BigPartElsewhere, &not_locked).unwrap();
    assert_eq!(small().unwrap(), b"alone");
    let (mut partial, _) = miss(&cache);
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    cache.store_small_part(&name(), b"of another release", &SmallPartContext::BigPartElsewhere, &not_locked).unwrap();
    assert_eq!(small().unwrap(), b"sealed");
    let entry = cache.intact_entry(&name(), &abc()).unwrap().unwrap();
    cache.store_small_part(&name(), b"sealed anew", &SmallPartContext::Entry(&entry), &not_locked).unwrap();
    assert_eq!(small().unwrap(), b"sealed anew");
    // Another fetch replaces the entry by another release.
    fs::write(scratch.path("models/v2/next"), "xyz").unwrap();
    fs::rename(scratch.path("models/v2/next"), scratch.path("models/v2/abc.big")).unwrap();
    cache.store_small_part(&name(), b"late", &SmallPartContext::Entry(&entry), &not_locked).unwrap();
    assert_eq!(small().unwrap(), b"sealed anew");
    cache.store_small_part(&name(), b"whole", &SmallPartContext::NoBigPart, &not_locked).unwrap();
    assert_eq!((small().unwrap(), scratch.names()), (b"whole".to_vec(), vec!["abc.small".to_owned()]));
}

#[test]
fn small_parts_stored_concurrently_are_not_mixed() {
    let scratch = Scratch::new("at-once");
    std::thread::scope(|scope| {
        for byte in 0..6 {
            let cache = Cache::open(&scratch.0).unwrap();
            scope.spawn(move || {
                let wait = |_: &fs::File| {
                    std::thread::yield_now();
                    Ok(())
                };
                let context = SmallPartContext::BigPartElsewhere;
                for _ in 0..20 {
                    cache.store_small_part(&name(), &[byte; 5000], &context, &wait).unwrap();
                    let recorded = cache.small_part(&name(), 1 << 20).unwrap().unwrap();
                    assert!(recorded.len() == 5000 && recorded.iter().all(|there| *there == recorded[0]));
                }
            });
        }
    });
    assert_eq!(scratch.names(), ["abc.small"]);
}

#[test]
fn previous_entry_stays_until_the_new_one_is_complete() {
    let scratch = Scratch::new("replaced");
    let cache = Cache::open(&scratch.0).unwrap();
    fs::create_dir_all(scratch.path("models/v2")).unwrap();
    fs::write(scratch.path("models/v2/abc.big"), "before").unwrap();
    fs::write(scratch.path("models/v2/abc.small"), "sealed before").unwrap();
    let before = ExpectedPart { size: Some(6), sha256: Some("00".repeat(32)) };
    for recorded in [None, Some(&before)] {
        let (mut partial, previous) = miss_after(&cache, recorded);
        assert_eq!(previous, PreviousEntry::Stale(6));
        partial.write(b"ab").unwrap();
        drop(partial);
        assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"before");
        assert_eq!(cache.small_part(&name(), 100).unwrap().unwrap(), b"sealed before");
    }
    let (mut partial, _) = miss(&cache);
    assert_eq!(partial.make_room(0), None, "the disk has room");
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(cache.small_part(&name(), 100).unwrap().unwrap(), b"sealed");
    assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
}

#[test]
fn damaged_entry_is_moved_aside_until_it_is_replaced() {
    for (case, bytes) in [("flipped", "abd"), ("cut", "ab"), ("empty", "")] {
        let scratch = Scratch::new(case);
        let cache = Cache::open(&scratch.0).unwrap();
        fs::create_dir_all(scratch.path("models/v2")).unwrap();
        fs::write(scratch.path("models/v2/abc.big"), bytes).unwrap();
        let (mut partial, previous) = miss_after(&cache, Some(&abc()));
        let aside = scratch.path("models/v2/abc.big.damaged");
        assert_eq!(previous, PreviousEntry::Damaged(aside.to_str().unwrap().to_owned()));
        assert_eq!(fs::read(aside).unwrap(), bytes.as_bytes());
        assert!(!scratch.path("models/v2/abc.big").exists());
        partial.write(b"abc").unwrap();
        partial.commit(b"sealed", &not_locked).unwrap();
        assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let scratch = Scratch::new("links");
    fs::create_dir(scratch.path("outside")).unwrap();
    fs::write(scratch.path("outside/abc.big"), "abc").unwrap();
    let cache = Cache::open(&scratch.path("cache")).unwrap();
    symlink(scratch.path("outside"), scratch.path("cache/models")).unwrap();
    assert!(cache.lookup(&name(), &abc(), &|| None, &not_locked).is_err());
    fs::remove_file(scratch.path("cache/models")).unwrap();

    fs::create_dir_all(scratch.path("cache/models/v2")).unwrap();
    symlink(scratch.path("outside/abc.big"), scratch.path("cache/models/v2/abc.big")).unwrap();
    let (partial, previous) = miss(&cache);
    assert!(matches!(previous, PreviousEntry::Damaged(_)));
    drop(partial);
    symlink(scratch.path("outside/new"), scratch.path("cache/models/v2/abc.big.partial")).unwrap();
    assert!(cache.lookup(&name(), &abc(), &|| None, &not_locked).is_err());
    assert!(!scratch.path("outside/new").exists());
}

#[test]
fn second_fetch_waits_and_uses_the_entry_of_the_first() {
    let scratch = Scratch::new("second");
    let root = scratch.0.clone();
    let (mut partial, _) = miss(&Cache::open(&root).unwrap());
    let (waits, waiting) = mpsc::channel();
    let second = std::thread::spawn(move || {
        let cache = Cache::open(&root).unwrap();
        let wait = |_: &fs::File| {
            // The test receives only once.
            let _ = waits.send(());
            std::thread::yield_now();
            Ok(())
        };
        let claim = cache.lookup(&name(), &abc(), &|| None, &wait).unwrap();
        matches!(claim, CacheLookup::Hit(_))
    });
    waiting.recv().unwrap();
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert!(second.join().unwrap());
}

#[test]
fn wait_for_another_fetch_may_give_up() {
    let scratch = Scratch::new("busy");
    let cache = Cache::open(&scratch.0).unwrap();
    let _held = miss(&cache);
    let error = cache.lookup(&name(), &abc(), &|| None, &give_up).unwrap_err();
    assert_eq!((error.code().exit(), error.to_string().contains("locked by a test")), (75, true), "{error}");
}

#[test]
fn wait_for_a_locked_small_part_may_give_up() {
    let scratch = Scratch::new("busy-small");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = miss(&cache);
    let held = fs::File::create(scratch.path("models/v2/abc.small.new")).unwrap();
    held.lock().unwrap();
    let stored = cache.store_small_part(&name(), b"sealed", &SmallPartContext::NoBigPart, &give_up).unwrap_err();
    partial.write(b"abc").unwrap();
    let committed = partial.commit(b"sealed", &give_up).unwrap_err();
    for error in [stored, committed] {
        assert_eq!((error.code().exit(), error.to_string().contains("locked by a test")), (75, true), "{error}");
    }
    assert_eq!(cache.small_part(&name(), 100).unwrap(), None);
    assert!(cache.intact_entry(&name(), &abc()).unwrap().is_none());
}

/// Only the holder of the entry's lock writes the state, so it is never locked for a good reason.
#[test]
fn a_locked_state_file_is_an_error_without_a_wait() {
    let scratch = Scratch::new("busy-state");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = miss(&cache);
    let held = fs::File::create(scratch.path("models/v2/abc.big.state.new")).unwrap();
    held.lock().unwrap();
    let error = partial.write(&vec![0; 9 << 20]).unwrap_err();
    assert!(error.to_string().contains("abc.big.state.new is locked by another process"), "{error}");
}

#[test]
fn scan_classifies_each_kind_of_file() {
    let scratch = Scratch::new("scan");
    assert_eq!(CacheScan::read(&scratch.path("none")).unwrap(), None);
    fs::create_dir_all(scratch.path("models/a")).unwrap();
    let files =
        ["z.big", "z.small", "a/y.big", "b.big.partial", "b.big.state", "z.big.damaged", "z.small.new", "-.big"];
    for file in files {
        fs::write(scratch.path("models").join(file), "1234").unwrap();
    }
    symlink("/", scratch.path("link")).unwrap();
    let mut scan = CacheScan::read(&scratch.path("")).unwrap().unwrap();
    scan.foreign.sort();
    let entries: Vec<_> = scan.entries.iter().map(ResourceName::as_str).collect();
    assert_eq!((entries, scan.bytes), (vec!["models/a/y", "models/z"], 4 * files.len() as u64));
    assert_eq!(
        (&scan.unfinished[..], &scan.damaged[..]),
        (&["models/b.big.partial".to_owned()][..], &["models/z.big.damaged".to_owned()][..])
    );
    assert_eq!(scan.foreign, ["link", "models/-.big", "models/z.small.new"]);
}
