//! What a loss of power or a kill leaves behind, and how it is put right.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

mod site;

use loader_seal::Header;
use loader_seal::rekey::{Journal, SlotChange, rekey};
use loader_testkit::test_dir::assert_refused;
use site::Site;
use std::fs;
use std::time::Duration;

const PLAIN: &[u8] = &[7; 5000];
const JOURNAL: &str = ".file.rekey";

/// The file before and after a rotation, and the journal of it.
fn rotation(site: &Site) -> (Vec<u8>, Vec<u8>, Journal) {
    let before = site.sealed(PLAIN, &["a"], 0);
    let old = Header::read(&mut &before[..]).unwrap();
    let (add, drop) = ([site.key("b")], [site.key("a").id()]);
    let new = rekey(&old, &[site.key("a")], &SlotChange { add: &add, drop: &drop, spare_slots: 0 }).unwrap();
    let after = [new.as_bytes(), &before[old.as_bytes().len()..]].concat();
    let journal = Journal::new(&old, &new).unwrap();
    (before, after, journal)
}

#[test]
fn every_torn_header_becomes_the_old_one_again() {
    let site = Site::new();
    let (before, after, journal) = rotation(&site);
    let header_len = Header::read(&mut &before[..]).unwrap().as_bytes().len();
    for cut in (0..=header_len).step_by(5).chain([header_len]) {
        for (first, second) in [(&after, &before), (&before, &after)] {
            let torn = [&first[..cut], &second[cut..]].concat();
            site.write("file", &torn);
            site.write(JOURNAL, &journal.to_bytes());
            let found = site.step(&["--recover", "file"], "recovered");
            let (state, expected) = match &torn {
                torn if *torn == before => ("untouched", &before),
                torn if *torn == after => ("finished", &after),
                _ => ("restored", &before),
            };
            assert_eq!((&found["header"], &site.read("file") == expected), (&state.into(), true), "{cut}");
            assert_eq!(site.names(), ["file"]);
        }
    }
}

#[test]
fn a_rotation_puts_right_what_the_one_before_left() {
    let site = Site::new();
    let (before, after, journal) = rotation(&site);
    site.write("file", &[&after[..60], &before[60..]].concat());
    site.write(JOURNAL, &journal.to_bytes());
    assert!(site.open(&site.read("file"), "a").is_err() && site.open(&site.read("file"), "b").is_err());
    let args = ["--key-file", "a.key", "--add", "b.key", "--replace", "file"];
    assert_eq!(site.step(&args, "recovered")["header"], "restored");
    assert_eq!(site.open(&site.read("file"), "b").unwrap(), PLAIN);
    assert_eq!(site.names(), ["file"]);
    assert!(site.run(&["--recover", "file"], b"").status.success());
    assert_refused(&site.run(&["--recover"], b""), 2, "usage");
}

#[test]
fn a_journal_that_was_cut_short_says_that_nothing_happened() {
    let site = Site::new();
    let (before, _, journal) = rotation(&site);
    let bytes = journal.to_bytes();
    site.write("file", &before);
    for cut in (0..bytes.len()).step_by(11) {
        site.write(JOURNAL, &bytes[..cut]);
        assert_eq!(site.step(&["--recover", "file"], "recovered")["header"], "untouched", "{cut}");
        assert_eq!((site.read("file") == before, site.names()), (true, vec!["file".to_owned()]));
    }
}

#[test]
fn a_journal_of_another_file_is_left_alone() {
    let site = Site::new();
    let (_, _, journal) = rotation(&site);
    let other = site.sealed(PLAIN, &["a"], 0);
    site.write("file", &other);
    site.write(JOURNAL, &journal.to_bytes());
    assert_refused(&site.run(&["--recover", "file"], b""), 73, "cannot_create");
    let args = ["--key-file", "a.key", "--add", "b.key", "--replace", "file"];
    assert_refused(&site.run(&args, b""), 73, "cannot_create");
    assert_eq!((site.read("file"), site.names()), (other, vec![JOURNAL.to_owned(), "file".to_owned()]));
}

#[test]
fn a_journal_of_another_user_is_not_believed() {
    let site = Site::new();
    let (before, after, journal) = rotation(&site);
    let torn = [&after[..60], &before[60..]].concat();
    site.write("file", &torn);
    site.write(JOURNAL, &journal.to_bytes());
    // Only root can give a file away.
    if std::os::unix::fs::chown(site.path(JOURNAL), Some(65534), None).is_err() {
        return;
    }
    let refusal = assert_refused(&site.run(&["--recover", "file"], b""), 73, "cannot_create");
    assert!(refusal.contains("written by another user"), "{refusal}");
    assert!(site.read("file") == torn && site.path(JOURNAL).exists());
}

/// Kills a run after `after`, puts right what it left, and gives whether it was
/// killed in time.
fn killed(site: &Site, args: &[&str], after: Duration) -> bool {
    let mut child = site.command(args).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    let killed = !child.wait().unwrap().success();
    assert!(site.run(&["--recover", "file"], b"").status.success());
    killed
}

#[test]
fn a_kill_at_any_moment_leaves_a_file_that_opens() {
    let site = Site::new();
    site.write("file", &site.sealed(PLAIN, &["a"], 60_000));
    let (mut holder, mut kills) = ("a", 0);
    for round in 0..60 {
        let [held, other] = if holder == "a" { ["a.key", "b.key"] } else { ["b.key", "a.key"] };
        let args = ["--key-file", held, "--add", other, "--replace", "file"];
        kills += usize::from(killed(&site, &args, Duration::from_micros(round * 150)));
        let file = site.read("file");
        holder = ["a", "b"].into_iter().find(|key| site.open(&file, key).as_deref() == Ok(PLAIN)).unwrap();
        assert_eq!(site.names(), ["file"]);
    }
    assert!(kills > 0, "no run was killed");
}

#[test]
fn a_kill_while_the_stream_moves_leaves_a_file_that_opens() {
    let site = Site::new();
    let plain = vec![7; 8 << 20];
    let before = site.sealed(&plain, &["a"], 0);
    let mut kills = 0;
    for round in 0..40 {
        site.write("file", &before);
        let args = ["--key-file", "a.key", "--add", "b.key", "file"];
        kills += usize::from(killed(&site, &args, Duration::from_micros(round * 500)));
        let file = site.read("file");
        assert!(file == before || site.open(&file, "b").is_ok_and(|opened| opened == plain), "{round}");
        // At the worst a whole file under a temporary name is left over.
        for name in site.names().iter().filter(|name| *name != "file") {
            assert!(name.starts_with(".file.") && name.ends_with(".tmp"), "{name}");
            fs::remove_file(site.path(name)).unwrap();
        }
    }
    assert!(kills > 0, "no run was killed");
}
