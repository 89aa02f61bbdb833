//! Tests of the cache: only complete and verified entries, and nothing outside its directory.

use loader_cdn::{
    Cache, CacheLookup, CacheScan, ExpectedPart, PartialEntry, PreviousEntry, ResumePoint, SmallPartContext, transfer,
};
use loader_model::{Coded, ResourceName};
use loader_testkit::file_names;
use loader_testkit::test_dir::TestDir;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;

const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Returns the file names in the directory of the entry, sorted.
fn names(dir: &TestDir) -> Vec<String> {
    file_names(&dir.path("models/v2"))
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
    let dir = TestDir::new();
    let cache = Cache::open(&dir.path("cache")).unwrap();
    let entry = dir.path("cache/models/v2/abc.big");
    let (mut partial, _) = miss(&cache);
    partial.write(b"abc").unwrap();
    assert!(!entry.exists() && dir.path("cache/models/v2/abc.big.partial").exists());
    partial.commit(b"sealed", &not_locked).unwrap();
    assert!(!dir.path("cache/models/v2/abc.big.partial").exists());
    assert_eq!((mode(&entry), mode(&dir.path("cache")), mode(&dir.path("cache/models/v2"))), (0o600, 0o700, 0o700));
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
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    let (mut partial, _) = miss(&cache);
    partial.set_etag(Some("\"v1\""));
    drop(partial);
    assert_eq!(fs::read_dir(dir.path("models/v2")).unwrap().count(), 0);
    // The store sends no ETags; the digest decides in the end.
    (partial, _) = miss(&cache);
    partial.set_etag(None);
    partial.write(b"ab").unwrap();
    drop(partial);
    assert_eq!(miss(&cache).0.resume_point(), ResumePoint { offset: 2, etag: None });
}

#[test]
fn stale_partial_is_overwritten() {
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    fs::create_dir_all(dir.path("models/v2")).unwrap();
    fs::write(dir.path("models/v2/abc.big.partial"), "left by a killed run").unwrap();
    let (mut partial, _) = miss(&cache);
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert_eq!(fs::read(dir.path("models/v2/abc.big")).unwrap(), b"abc");
}

#[test]
fn unfinished_entry_of_a_known_version_is_resumed() {
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
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
    assert_eq!(fs::read(dir.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(names(&dir), ["abc.big", "abc.small"]);
}

#[test]
fn unfinished_entry_of_another_release_is_not_resumed() {
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
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
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
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
    fs::write(dir.path("models/v2/next"), "xyz").unwrap();
    fs::rename(dir.path("models/v2/next"), dir.path("models/v2/abc.big")).unwrap();
    cache.store_small_part(&name(), b"late", &SmallPartContext::Entry(&entry), &not_locked).unwrap();
    assert_eq!(small().unwrap(), b"sealed anew");
    cache.store_small_part(&name(), b"whole", &SmallPartContext::NoBigPart, &not_locked).unwrap();
    assert_eq!((small().unwrap(), names(&dir)), (b"whole".to_vec(), vec!["abc.small".to_owned()]));
}

#[test]
fn small_parts_stored_concurrently_are_not_mixed() {
    let dir = TestDir::new();
    std::thread::scope(|scope| {
        for byte in 0..6 {
            let cache = Cache::open(dir.root()).unwrap();
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
    assert_eq!(names(&dir), ["abc.small"]);
}

#[test]
fn previous_entry_stays_until_the_new_one_is_complete() {
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    fs::create_dir_all(dir.path("models/v2")).unwrap();
    fs::write(dir.path("models/v2/abc.big"), "before").unwrap();
    fs::write(dir.path("models/v2/abc.small"), "sealed before").unwrap();
    let before = ExpectedPart { size: Some(6), sha256: Some("00".repeat(32)) };
    for recorded in [None, Some(&before)] {
        let (mut partial, previous) = miss_after(&cache, recorded);
        assert_eq!(previous, PreviousEntry::Stale(6));
        partial.write(b"ab").unwrap();
        drop(partial);
        assert_eq!(fs::read(dir.path("models/v2/abc.big")).unwrap(), b"before");
        assert_eq!(cache.small_part(&name(), 100).unwrap().unwrap(), b"sealed before");
    }
    let (mut partial, _) = miss(&cache);
    assert_eq!(partial.make_room(0), None, "the disk has room");
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed", &not_locked).unwrap();
    assert_eq!(fs::read(dir.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(cache.small_part(&name(), 100).unwrap().unwrap(), b"sealed");
    assert_eq!(names(&dir), ["abc.big", "abc.small"]);
}

#[test]
fn damaged_entry_is_moved_aside_until_it_is_replaced() {
    for bytes in ["abd", "ab", ""] {
        let dir = TestDir::new();
        let cache = Cache::open(dir.root()).unwrap();
        fs::create_dir_all(dir.path("models/v2")).unwrap();
        fs::write(dir.path("models/v2/abc.big"), bytes).unwrap();
        let (mut partial, previous) = miss_after(&cache, Some(&abc()));
        let aside = dir.path("models/v2/abc.big.damaged");
        assert_eq!(previous, PreviousEntry::Damaged(aside.to_str().unwrap().to_owned()));
        assert_eq!(fs::read(aside).unwrap(), bytes.as_bytes());
        assert!(!dir.path("models/v2/abc.big").exists());
        partial.write(b"abc").unwrap();
        partial.commit(b"sealed", &not_locked).unwrap();
        assert_eq!(names(&dir), ["abc.big", "abc.small"]);
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("outside")).unwrap();
    fs::write(dir.path("outside/abc.big"), "abc").unwrap();
    let cache = Cache::open(&dir.path("cache")).unwrap();
    symlink(dir.path("outside"), dir.path("cache/models")).unwrap();
    assert!(cache.lookup(&name(), &abc(), &|| None, &not_locked).is_err());
    fs::remove_file(dir.path("cache/models")).unwrap();

    fs::create_dir_all(dir.path("cache/models/v2")).unwrap();
    symlink(dir.path("outside/abc.big"), dir.path("cache/models/v2/abc.big")).unwrap();
    let (partial, previous) = miss(&cache);
    assert!(matches!(previous, PreviousEntry::Damaged(_)));
    drop(partial);
    symlink(dir.path("outside/new"), dir.path("cache/models/v2/abc.big.partial")).unwrap();
    assert!(cache.lookup(&name(), &abc(), &|| None, &not_locked).is_err());
    assert!(!dir.path("outside/new").exists());
}

#[test]
fn second_fetch_waits_and_uses_the_entry_of_the_first() {
    let dir = TestDir::new();
    let root = dir.root().to_owned();
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
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    let _held = miss(&cache);
    let error = cache.lookup(&name(), &abc(), &|| None, &give_up).unwrap_err();
    assert_eq!((error.code().exit(), error.to_string().contains("locked by a test")), (75, true), "{error}");
}

#[test]
fn wait_for_a_locked_small_part_may_give_up() {
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    let (mut partial, _) = miss(&cache);
    let held = fs::File::create(dir.path("models/v2/abc.small.new")).unwrap();
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
    let dir = TestDir::new();
    let cache = Cache::open(dir.root()).unwrap();
    let (mut partial, _) = miss(&cache);
    let held = fs::File::create(dir.path("models/v2/abc.big.state.new")).unwrap();
    held.lock().unwrap();
    let error = partial.write(&vec![0; 9 << 20]).unwrap_err();
    assert!(error.to_string().contains("abc.big.state.new is locked by another process"), "{error}");
}

#[test]
fn scan_classifies_each_kind_of_file() {
    let dir = TestDir::new();
    assert_eq!(CacheScan::read(&dir.path("none")).unwrap(), None);
    fs::create_dir_all(dir.path("models/a")).unwrap();
    let files =
        ["z.big", "z.small", "a/y.big", "b.big.partial", "b.big.state", "z.big.damaged", "z.small.new", "-.big"];
    for file in files {
        fs::write(dir.path("models").join(file), "1234").unwrap();
    }
    symlink("/", dir.path("link")).unwrap();
    let mut scan = CacheScan::read(&dir.path("")).unwrap().unwrap();
    scan.foreign.sort();
    let entries: Vec<_> = scan.entries.iter().map(ResourceName::as_str).collect();
    assert_eq!((entries, scan.bytes), (vec!["models/a/y", "models/z"], 4 * files.len() as u64));
    assert_eq!(
        (&scan.unfinished[..], &scan.damaged[..]),
        (&["models/b.big.partial".to_owned()][..], &["models/z.big.damaged".to_owned()][..])
    );
    assert_eq!(scan.foreign, ["link", "models/-.big", "models/z.small.new"]);
}
