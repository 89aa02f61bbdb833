//! az-rekey as a process: in place, in a pipe, with a published small part.

use crate::workdir::WorkDir;
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::{Header, copy_digest};
use loader_testkit::test_dir::assert_refused;
use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, symlink};

const PLAIN: &[u8] = &[7; 20_000];

/// Length in bytes of the field of a key slot.
const SLOT_FIELD_LEN: usize = 67;

#[test]
fn key_is_replaced_in_place() {
    let dir = WorkDir::new();
    let before = dir.sealed(PLAIN, &["a"], 0);
    dir.write("file", &before);
    let inode = fs::metadata(dir.path("file")).unwrap().ino();
    let done = dir.step(&["--key-file", "a.key", "--add", "b.key", "--replace", "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], &done["slots"][0]), (&false.into(), &dir.key("b").id().to_string().into()));
    assert!(done["written"].as_u64().unwrap() < 1024, "{done}");
    let after = dir.read("file");
    let header_len = Header::read(&mut &before[..]).unwrap().as_bytes().len();
    assert_eq!(after[..36], before[..36]);
    assert_eq!(after[header_len..], before[header_len..]);
    assert_eq!((dir.open(&after, "a"), dir.open(&after, "b").as_deref()), (Err("wrong_key"), Ok(PLAIN)));
    assert_eq!(fs::metadata(dir.path("file")).unwrap().ino(), inode);
    assert_eq!(dir.names(), ["file"]);
}

#[test]
fn growing_header_moves_the_stream_once() {
    let dir = WorkDir::new();
    dir.write("file", &dir.sealed(PLAIN, &["a"], 0));
    dir.set_mode("file", 0o640);
    symlink("file", dir.path("link")).unwrap();
    let done = dir.step(&["--key-file", "a.key", "--add", "b.key", "link"], "rekeyed");
    assert_eq!(done["stream_moved"], true);
    assert!(fs::symlink_metadata(dir.path("link")).unwrap().is_symlink());
    assert_eq!(dir.mode("file"), 0o640);
    // There is space for more keys now, and dropping a key adds space.
    let done = dir.step(&["--key-file", "b.key", "--add", "c.key", "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], done["slots"].as_array().unwrap().len()), (&false.into(), 3));
    let drop = dir.key("a").id().to_string();
    let done = dir.step(&["--key-file", "c.key", "--drop", &drop, "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], done["slots"].as_array().unwrap().len()), (&false.into(), 2));
    let after = dir.read("file");
    assert_eq!(dir.open(&after, "a"), Err("wrong_key"));
    for key in ["b", "c"] {
        assert_eq!(dir.open(&after, key).unwrap(), PLAIN);
    }
    assert_eq!(dir.names(), ["file", "link"]);
}

#[test]
fn rotation_of_ten_gibibytes_writes_less_than_64_kib() {
    let dir = WorkDir::new();
    let len = 10 << 30;
    let header = dir.sealed(b"", &["a"], 0);
    let mut file = fs::File::create(dir.path("big")).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(len).unwrap();
    // With data at the end, a copy would have other blocks.
    file.seek(SeekFrom::Start(len - 4096)).unwrap();
    file.write_all(&[9; 4096]).unwrap();
    file.sync_all().unwrap();
    let before = fs::metadata(dir.path("big")).unwrap();
    let done = dir.step(&["--key-file", "a.key", "--add", "b.key", "--replace", "big"], "rekeyed");
    let after = fs::metadata(dir.path("big")).unwrap();
    assert!(done["written"].as_u64().unwrap() < 1024, "{done}");
    assert_eq!((after.len(), after.ino(), after.blocks()), (before.len(), before.ino(), before.blocks()));
    let read = Header::read(&mut fs::File::open(dir.path("big")).unwrap()).unwrap();
    assert!(read.unlock(&[dir.key("b")]).is_ok());
}

#[test]
fn pipe_copies_the_stream_with_the_new_header() {
    let dir = WorkDir::new();
    let plain = vec![3; 9_000_000];
    let whole = dir.sealed(&plain, &["a"], 0);
    for args in [&["--key-file", "a.key", "--add", "b.key"][..], &["--key-file", "a.key", "--add", "b.key", "-"]] {
        let output = dir.run(args, &whole);
        assert_eq!(output.status, 0);
        assert_eq!(output.stdout.len(), whole.len() + SLOT_FIELD_LEN);
        for key in ["a", "b"] {
            assert_eq!(dir.open(&output.stdout, key).unwrap(), plain);
        }
    }
    // With --replace, the length of a small part or of a header does not change.
    for cut in [Header::read(&mut &whole[..]).unwrap().as_bytes().len(), 200, 5000, 300_000] {
        let output = dir.run(&["--key-file", "a.key", "--add", "b.key", "--replace"], &whole[..cut]);
        assert_eq!(output.stdout.len(), cut);
        assert_eq!(dir.open(&[&output.stdout, &whole[cut..]].concat(), "b").unwrap(), plain);
    }
    dir.write("in", &whole);
    let output = dir.run(&["--key-file", "a.key", "--add", "b.key", "in", "-o", "out"], b"");
    assert_eq!((output.status, dir.read("in") == whole), (0, true));
    assert_eq!(dir.open(&dir.read("out"), "b").unwrap(), plain);
    // Standard input is either the key or the sealed file.
    let output = dir.run(&["--key-file", "-", "--add", "b.key", "in", "-o", "out"], &dir.read("a.key"));
    assert_eq!(output.status, 0);
    assert_refused(&dir.run(&["--key-file", "-", "--add", "b.key"], &whole), 2, "usage");
}

#[test]
fn receipt_of_a_published_small_part_is_updated() {
    let dir = WorkDir::new();
    let plain = vec![5; 100_000];
    let whole = dir.sealed(&plain, &["a"], 0);
    let (small, big) = whole.split_at(30_000);
    let receipt = |small: &[u8]| {
        let part = |bytes: &[u8]| {
            let digest = copy_digest(bytes, std::io::sink()).unwrap();
            PartReceipt { size: digest.len, sha256: digest.hex() }
        };
        PartsReceipt { parts: 1, name: Some("models/a".parse().unwrap()), small: part(small), big: part(big) }
    };
    let published = [&receipt(small).to_line()[..], small].concat();
    dir.write("published", &published);
    let piped = dir.run(&["--key-file", "a.key", "--add", "b.key"], &published);
    assert_eq!(piped.status, 0);
    let done = dir.step(&["--key-file", "a.key", "--add", "b.key", "published"], "rekeyed");
    assert_eq!(done["stream_moved"], true);
    for bytes in [piped.stdout, dir.read("published")] {
        let (taken, rest) = PartsReceipt::split_prefix(&bytes).unwrap().unwrap();
        assert_eq!(taken, receipt(rest));
        assert_eq!(taken.big, receipt(small).big);
        assert_eq!(rest.len(), small.len() + SLOT_FIELD_LEN);
        for key in ["a", "b"] {
            assert_eq!(dir.open(&[rest, big].concat(), key).unwrap(), plain);
        }
    }
    let mut damaged = published.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "b.key"], &damaged), 65, "digest_mismatch");
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "b.key"], &published[..20_000]), 65, "digest_mismatch");
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "b.key"], b"{\"parts\":1,\n"), 65, "malformed");
    let long = [&published[..], &vec![0; 4 << 20]].concat();
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "b.key"], &long), 65, "malformed");
    dir.write("published", &damaged);
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "b.key", "published"], b""), 65, "digest_mismatch");
    assert_eq!((dir.read("published") == damaged, dir.names()), (true, vec!["published".to_owned()]));
}

#[test]
fn refused_changes_do_not_change_the_file() {
    let dir = WorkDir::new();
    let before = dir.sealed(PLAIN, &["a", "b"], 0);
    dir.write("file", &before);
    let id = |name: &str| dir.key(name).id().to_string();
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let run = |args: &[&str]| dir.run(&[args, &["file"]].concat(), b"");
    let wrong = assert_refused(&run(&["--key-file", "c.key", "--add", "b.key"]), 79, "wrong_key");
    assert!(wrong.contains(&a) && wrong.contains(&c), "{wrong}");
    let last = assert_refused(&run(&["--key-file", "a.key", "--drop", &a, "--drop", &b]), 2, "usage");
    assert!(last.contains("the last slot is not dropped"), "{last}");
    assert_refused(&run(&["--key-file", "a.key", "--drop", &c]), 66, "not_found");
    assert_refused(&run(&["--key-file", "a.key", "--add", "b.key", "--drop", &b]), 2, "usage");
    assert_refused(&run(&["--key-file", "a.key", "--add", "a.key", "--replace"]), 2, "usage");
    assert_refused(&run(&["--key-file", "a.key"]), 2, "usage");
    assert_refused(&run(&["--key-file", "a.key", "--replace"]), 2, "usage");
    assert_refused(&run(&["--key-file", "a.key", "--drop", "azkey1nonsense"]), 2, "usage");
    assert_refused(&run(&["--key-file", "a.key", "--add", "file"]), 65, "malformed");
    assert_refused(&run(&["--key-file", "a.key", "--add", "none"]), 66, "not_found");
    assert_refused(&run(&["--add", "b.key"]), 78, "config");
    assert_eq!((dir.read("file") == before, dir.names()), (true, vec!["file".to_owned()]));

    let mut tampered = before.clone();
    tampered[90] ^= 1;
    dir.write("file", &tampered);
    assert_refused(&run(&["--key-file", "a.key", "--add", "c.key"]), 65, "header_tampered");
    for (name, bytes, code) in [("cut", &before[..100], "truncated"), ("plain", b"plain", "not_sealed")] {
        dir.write(name, bytes);
        assert_refused(&dir.run(&["--key-file", "a.key", "--add", "c.key", name], b""), 65, code);
        assert_refused(&dir.run(&["--key-file", "a.key", "--add", "c.key"], bytes), 65, code);
        assert_eq!(dir.read(name), bytes);
    }
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "c.key"], b""), 65, "no_input");
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "c.key", "none"], b""), 66, "not_found");
    assert_refused(&dir.run(&["--key-file", "a.key", "--add", "c.key", "."], b""), 2, "usage");
}

/// Any process that can read a file can lock it for an unlimited time.
#[test]
fn wait_for_a_locked_file_is_limited() {
    let dir = WorkDir::new();
    let before = dir.sealed(PLAIN, &["a"], 0);
    dir.write("file", &before);
    let reader = fs::File::open(dir.path("file")).unwrap();
    reader.lock_shared().unwrap();
    let add = ["--key-file", "a.key", "--add", "b.key", "file"];
    for args in [&add[..], &["--recover", "file"]] {
        let output = dir.command(args).env("AZ_LOCK_TIMEOUT", "0").output().unwrap();
        let events = assert_refused(&output.into(), 75, "temporary");
        let holder = format!("locked by process {} (", std::process::id());
        for part in [holder, format!("\"pid\":{}", std::process::id()), "\"step\":\"lock-wait\"".to_owned()] {
            assert!(events.contains(&part), "{part}: {events}");
        }
    }
    assert_refused(&dir.command(&add).env("AZ_LOCK_TIMEOUT", "soon").output().unwrap().into(), 78, "config");
    assert_eq!(dir.read("file"), before);
    // The change is made after the lock is released.
    let mut waiting = dir.command(&add).spawn().unwrap();
    let mut events = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(events.by_ref().any(|line| line.contains("lock-wait")));
    reader.unlock().unwrap();
    assert!(events.any(|line| line.contains("\"ready\"")));
    assert!(waiting.wait().unwrap().success());
    assert!(dir.open(&dir.read("file"), "b").is_ok());
}
