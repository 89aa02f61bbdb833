//! The cache: only whole entries, only checked ones, nothing outside its folder.
#![allow(clippy::unwrap_used)]

use loader_cdn::{Beside, Cache, Claim, Expected, Old, Partial, Start, Survey, transfer};
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

    /// The files beside the entry, sorted.
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

fn abc() -> Expected {
    Expected { size: Some(3), sha256: Some(SHA256_OF_ABC.to_owned()) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn missing(cache: &Cache) -> (Partial, Old) {
    missing_after(cache, None)
}

/// The same where the small part in the cache promises `kept`.
fn missing_after(cache: &Cache, kept: Option<&Expected>) -> (Partial, Old) {
    match cache.claim(&name(), &abc(), &|| kept.cloned(), &|_| panic!("nobody else has it")).unwrap() {
        Claim::Missing { partial, old } => (partial, old),
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
    partial.commit(b"sealed").unwrap();
    assert!(!scratch.path("cache/models/v2/abc.big.partial").exists());
    assert_eq!(
        (mode(&entry), mode(&scratch.path("cache")), mode(&scratch.path("cache/models/v2"))),
        (0o600, 0o700, 0o700)
    );
    let Claim::Hit(mut hit) = cache.claim(&name(), &abc(), &|| None, &|_| panic!("nobody else has it")).unwrap() else {
        panic!("missing")
    };
    let mut out = Vec::new();
    assert_eq!(hit.size(), 3);
    transfer("big part", &mut [&mut hit], &abc(), &mut |_| Ok(()), &mut out).unwrap();
    assert_eq!(out, b"abc");
}

#[test]
fn an_entry_in_the_making_stays_only_if_it_has_bytes() {
    let scratch = Scratch::new("dropped");
    let cache = Cache::open(&scratch.0).unwrap();
    let (mut partial, _) = missing(&cache);
    partial.pin(Some("\"v1\""));
    drop(partial);
    assert_eq!(fs::read_dir(scratch.path("models/v2")).unwrap().count(), 0);
    // Of a store without ETags; the digest decides in the end.
    (partial, _) = missing(&cache);
    partial.pin(None);
    partial.write(b"ab").unwrap();
    drop(partial);
    assert_eq!(missing(&cache).0.start(), Start { offset: 2, etag: None });
}

#[test]
fn a_stale_partial_is_written_over() {
    let scratch = Scratch::new("stale");
    let cache = Cache::open(&scratch.0).unwrap();
    fs::create_dir_all(scratch.path("models/v2")).unwrap();
    fs::write(scratch.path("models/v2/abc.big.partial"), "left by a killed run").unwrap();
    let (mut partial, _) = missing(&cache);
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed").unwrap();
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
    transfer("kept", &mut [&mut kept], &Expected::default(), &mut |bytes| partial.write(bytes), &mut out).unwrap();
    assert_eq!(out, b"ab");
    partial.write(b"c").unwrap();
    partial.commit(b"sealed").unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
}

#[test]
fn what_is_left_of_another_release_is_not_taken_up() {
    let scratch = Scratch::new("other-release");
    let cache = Cache::open(&scratch.0).unwrap();
    let other = Expected { size: Some(3), sha256: Some("00".repeat(32)) };
    let Claim::Missing { mut partial, .. } =
        cache.claim(&name(), &other, &|| None, &|_| panic!("nobody else has it")).unwrap()
    else {
        panic!("hit")
    };
    partial.pin(Some("\"v1\""));
    partial.write(b"xy").unwrap();
    drop(partial);
    assert_eq!(missing(&cache).0.start(), Start::default());
}

#[test]
fn a_small_part_is_kept_beside_what_belongs_to_it() {
    let scratch = Scratch::new("small");
    let cache = Cache::open(&scratch.0).unwrap();
    let small = || cache.small(&name(), 100).unwrap();
    assert_eq!(small(), None);
    cache.keep_small(&name(), b"alone", &Beside::Elsewhere).unwrap();
    assert_eq!(small().unwrap(), b"alone");
    let (mut partial, _) = missing(&cache);
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed").unwrap();
    cache.keep_small(&name(), b"of another release", &Beside::Elsewhere).unwrap();
    assert_eq!(small().unwrap(), b"sealed");
    let entry = cache.entry(&name(), &abc()).unwrap().unwrap();
    cache.keep_small(&name(), b"sealed anew", &Beside::Entry(&entry)).unwrap();
    assert_eq!(small().unwrap(), b"sealed anew");
    // Another fetch puts a release in its place.
    fs::write(scratch.path("models/v2/next"), "xyz").unwrap();
    fs::rename(scratch.path("models/v2/next"), scratch.path("models/v2/abc.big")).unwrap();
    cache.keep_small(&name(), b"late", &Beside::Entry(&entry)).unwrap();
    assert_eq!(small().unwrap(), b"sealed anew");
    cache.keep_small(&name(), b"whole", &Beside::Nothing).unwrap();
    assert_eq!((small().unwrap(), scratch.names()), (b"whole".to_vec(), vec!["abc.small".to_owned()]));
}

#[test]
fn small_parts_kept_at_once_do_not_meet() {
    let scratch = Scratch::new("at-once");
    std::thread::scope(|scope| {
        for byte in 0..6 {
            let cache = Cache::open(&scratch.0).unwrap();
            scope.spawn(move || {
                for _ in 0..20 {
                    cache.keep_small(&name(), &[byte; 5000], &Beside::Elsewhere).unwrap();
                    let kept = cache.small(&name(), 1 << 20).unwrap().unwrap();
                    assert!(kept.len() == 5000 && kept.iter().all(|there| *there == kept[0]));
                }
            });
        }
    });
    assert_eq!(scratch.names(), ["abc.small"]);
}

#[test]
fn an_entry_stays_until_the_one_in_its_place_is_whole() {
    let scratch = Scratch::new("replaced");
    let cache = Cache::open(&scratch.0).unwrap();
    fs::create_dir_all(scratch.path("models/v2")).unwrap();
    fs::write(scratch.path("models/v2/abc.big"), "before").unwrap();
    fs::write(scratch.path("models/v2/abc.small"), "sealed before").unwrap();
    let before = Expected { size: Some(6), sha256: Some("00".repeat(32)) };
    for kept in [None, Some(&before)] {
        let (mut partial, old) = missing_after(&cache, kept);
        assert_eq!(old, Old::Stale(6));
        partial.write(b"ab").unwrap();
        drop(partial);
        assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"before");
        assert_eq!(cache.small(&name(), 100).unwrap().unwrap(), b"sealed before");
    }
    let (mut partial, _) = missing(&cache);
    assert_eq!(partial.make_room(0), None, "there is room");
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed").unwrap();
    assert_eq!(fs::read(scratch.path("models/v2/abc.big")).unwrap(), b"abc");
    assert_eq!(cache.small(&name(), 100).unwrap().unwrap(), b"sealed");
    assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
}

#[test]
fn a_damaged_entry_is_moved_aside_until_it_is_there_again() {
    for (case, bytes) in [("flipped", "abd"), ("cut", "ab"), ("empty", "")] {
        let scratch = Scratch::new(case);
        let cache = Cache::open(&scratch.0).unwrap();
        fs::create_dir_all(scratch.path("models/v2")).unwrap();
        fs::write(scratch.path("models/v2/abc.big"), bytes).unwrap();
        let (mut partial, old) = missing_after(&cache, Some(&abc()));
        let aside = scratch.path("models/v2/abc.big.damaged");
        assert_eq!(old, Old::Damaged(aside.to_str().unwrap().to_owned()));
        assert_eq!(fs::read(aside).unwrap(), bytes.as_bytes());
        assert!(!scratch.path("models/v2/abc.big").exists());
        partial.write(b"abc").unwrap();
        partial.commit(b"sealed").unwrap();
        assert_eq!(scratch.names(), ["abc.big", "abc.small"]);
    }
}

#[test]
fn links_lead_nowhere() {
    let scratch = Scratch::new("links");
    fs::create_dir(scratch.path("outside")).unwrap();
    fs::write(scratch.path("outside/abc.big"), "abc").unwrap();
    let cache = Cache::open(&scratch.path("cache")).unwrap();
    symlink(scratch.path("outside"), scratch.path("cache/models")).unwrap();
    assert!(cache.claim(&name(), &abc(), &|| None, &|_| panic!("nobody else has it")).is_err());
    fs::remove_file(scratch.path("cache/models")).unwrap();

    fs::create_dir_all(scratch.path("cache/models/v2")).unwrap();
    symlink(scratch.path("outside/abc.big"), scratch.path("cache/models/v2/abc.big")).unwrap();
    let (partial, old) = missing(&cache);
    assert!(matches!(old, Old::Damaged(_)));
    drop(partial);
    symlink(scratch.path("outside/new"), scratch.path("cache/models/v2/abc.big.partial")).unwrap();
    assert!(cache.claim(&name(), &abc(), &|| None, &|_| panic!("nobody else has it")).is_err());
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
        let wait = |_: &fs::File| {
            // The test listens only once.
            let _ = waits.send(());
            std::thread::yield_now();
            Ok(())
        };
        let claim = cache.claim(&name(), &abc(), &|| None, &wait).unwrap();
        matches!(claim, Claim::Hit(_))
    });
    waiting.recv().unwrap();
    partial.write(b"abc").unwrap();
    partial.commit(b"sealed").unwrap();
    assert!(second.join().unwrap());
}

#[test]
fn a_wait_for_another_fetch_may_give_up() {
    let scratch = Scratch::new("busy");
    let cache = Cache::open(&scratch.0).unwrap();
    let _held = missing(&cache);
    let give_up = |_: &fs::File| Err(std::io::Error::new(std::io::ErrorKind::ResourceBusy, "locked by a test"));
    let error = cache.claim(&name(), &abc(), &|| None, &give_up).unwrap_err();
    assert_eq!((error.code().exit(), error.to_string().contains("locked by a test")), (75, true), "{error}");
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
