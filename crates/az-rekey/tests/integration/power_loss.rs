//! Recovery after a power loss or a kill.

use crate::workdir::WorkDir;
use loader_seal::Header;
use loader_seal::rekey::{HeaderJournal, SlotChange, rekey};
use loader_testkit::test_dir::assert_refused;
use std::fs;
use std::time::Duration;

const PLAIN: &[u8] = &[7; 5000];
const JOURNAL: &str = ".file.rekey";

/// Returns the file before and after a key rotation, and its journal.
fn rotation(dir: &WorkDir) -> (Vec<u8>, Vec<u8>, HeaderJournal) {
    let before = dir.sealed(PLAIN, &["a"], 0);
    let old = Header::read(&mut &before[..]).unwrap();
    let (add, drop) = ([dir.key("b")], [dir.key("a").id()]);
    let new = rekey(&old, &[dir.key("a")], &SlotChange { add: &add, drop: &drop, spare_slots: 0 }).unwrap();
    let after = [new.as_bytes(), &before[old.as_bytes().len()..]].concat();
    let journal = HeaderJournal::new(&old, &new).unwrap();
    (before, after, journal)
}

#[test]
fn mixed_header_is_restored() {
    let dir = WorkDir::new();
    let (before, after, journal) = rotation(&dir);
    let header_len = Header::read(&mut &before[..]).unwrap().as_bytes().len();
    for cut in (0..=header_len).step_by(5).chain([header_len]) {
        for (first, second) in [(&after, &before), (&before, &after)] {
            let torn = [&first[..cut], &second[cut..]].concat();
            dir.write("file", &torn);
            dir.write(JOURNAL, &journal.to_bytes());
            let found = dir.step(&["--recover", "file"], "recovered");
            let (state, expected) = match &torn {
                torn if *torn == before => ("untouched", &before),
                torn if *torn == after => ("finished", &after),
                _ => ("restored", &before),
            };
            assert_eq!((&found["header"], &dir.read("file") == expected), (&state.into(), true), "{cut}");
            assert_eq!(dir.names(), ["file"]);
        }
    }
}

#[test]
fn next_rotation_recovers_the_file() {
    let dir = WorkDir::new();
    let (before, after, journal) = rotation(&dir);
    dir.write("file", &[&after[..60], &before[60..]].concat());
    dir.write(JOURNAL, &journal.to_bytes());
    assert!(dir.open(&dir.read("file"), "a").is_err() && dir.open(&dir.read("file"), "b").is_err());
    let args = ["--key-file", "a.key", "--add", "b.key", "--replace", "file"];
    assert_eq!(dir.step(&args, "recovered")["header"], "restored");
    assert_eq!(dir.open(&dir.read("file"), "b").unwrap(), PLAIN);
    assert_eq!(dir.names(), ["file"]);
    assert!(dir.run(&["--recover", "file"], b"").status == 0);
    assert_refused(&dir.run(&["--recover"], b""), 2, "usage");
}

#[test]
fn incomplete_journal_means_that_the_file_is_unchanged() {
    let dir = WorkDir::new();
    let (before, _, journal) = rotation(&dir);
    let bytes = journal.to_bytes();
    dir.write("file", &before);
    for cut in (0..bytes.len()).step_by(11) {
        dir.write(JOURNAL, &bytes[..cut]);
        assert_eq!(dir.step(&["--recover", "file"], "recovered")["header"], "untouched", "{cut}");
        assert_eq!((dir.read("file") == before, dir.names()), (true, vec!["file".to_owned()]));
    }
}

#[test]
fn journal_of_another_file_is_not_used() {
    let dir = WorkDir::new();
    let (_, _, journal) = rotation(&dir);
    let other = dir.sealed(PLAIN, &["a"], 0);
    dir.write("file", &other);
    dir.write(JOURNAL, &journal.to_bytes());
    assert_refused(&dir.run(&["--recover", "file"], b""), 73, "cannot_create");
    let args = ["--key-file", "a.key", "--add", "b.key", "--replace", "file"];
    assert_refused(&dir.run(&args, b""), 73, "cannot_create");
    assert_eq!((dir.read("file"), dir.names()), (other, vec![JOURNAL.to_owned(), "file".to_owned()]));
}

#[test]
fn journal_of_another_user_is_not_used() {
    let dir = WorkDir::new();
    let (before, after, journal) = rotation(&dir);
    let torn = [&after[..60], &before[60..]].concat();
    dir.write("file", &torn);
    dir.write(JOURNAL, &journal.to_bytes());
    // Only root can give a file away.
    if std::os::unix::fs::chown(dir.path(JOURNAL), Some(65534), None).is_err() {
        return;
    }
    let refusal = assert_refused(&dir.run(&["--recover", "file"], b""), 73, "cannot_create");
    assert!(refusal.contains("written by another user"), "{refusal}");
    assert!(dir.read("file") == torn && dir.path(JOURNAL).exists());
}

/// Kills a process after `after` and recovers the file. Returns true if the process was
/// killed before it had finished.
fn kill_and_recover(dir: &WorkDir, args: &[&str], after: Duration) -> bool {
    let mut child = dir.command(args).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    let was_killed = !child.wait().unwrap().success();
    assert!(dir.run(&["--recover", "file"], b"").status == 0);
    was_killed
}

#[test]
fn file_opens_after_a_kill_at_any_time() {
    let dir = WorkDir::new();
    dir.write("file", &dir.sealed(PLAIN, &["a"], 60_000));
    let (mut holder, mut kills) = ("a", 0);
    for round in 0..60 {
        let [held, other] = if holder == "a" { ["a.key", "b.key"] } else { ["b.key", "a.key"] };
        let args = ["--key-file", held, "--add", other, "--replace", "file"];
        kills += usize::from(kill_and_recover(&dir, &args, Duration::from_micros(round * 150)));
        let file = dir.read("file");
        holder = ["a", "b"].into_iter().find(|key| dir.open(&file, key).as_deref() == Ok(PLAIN)).unwrap();
        assert_eq!(dir.names(), ["file"]);
    }
    assert!(kills > 0, "no process was killed");
}

#[test]
fn file_opens_after_a_kill_while_the_stream_is_moved() {
    let dir = WorkDir::new();
    let plain = vec![7; 8 << 20];
    let before = dir.sealed(&plain, &["a"], 0);
    let mut kills = 0;
    for round in 0..40 {
        dir.write("file", &before);
        let args = ["--key-file", "a.key", "--add", "b.key", "file"];
        kills += usize::from(kill_and_recover(&dir, &args, Duration::from_micros(round * 500)));
        let file = dir.read("file");
        assert!(file == before || dir.open(&file, "b").is_ok_and(|opened| opened == plain), "{round}");
        // A temporary file may remain.
        for name in dir.names().iter().filter(|name| *name != "file") {
            assert!(name.starts_with(".file.") && name.ends_with(".tmp"), "{name}");
            fs::remove_file(dir.path(name)).unwrap();
        }
    }
    assert!(kills > 0, "no process was killed");
}
