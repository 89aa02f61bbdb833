//! az-rekey as a process: in place, in a pipe, on a published small part.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

mod site;

use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::{Header, copy_digest};
use loader_testkit::test_dir::assert_refused;
use site::Site;
use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, symlink};

const PLAIN: &[u8] = &[7; 20_000];

/// Bytes of a header with its field for one key slot less.
const SLOT_FIELD_LEN: usize = 67;

#[test]
fn a_key_is_replaced_where_the_file_stands() {
    let site = Site::new();
    let before = site.sealed(PLAIN, &["a"], 0);
    site.write("file", &before);
    let inode = fs::metadata(site.path("file")).unwrap().ino();
    let done = site.step(&["--key-file", "a.key", "--add", "b.key", "--replace", "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], &done["slots"][0]), (&false.into(), &site.key("b").id().to_string().into()));
    assert!(done["written"].as_u64().unwrap() < 1024, "{done}");
    let after = site.read("file");
    let header_len = Header::read(&mut &before[..]).unwrap().as_bytes().len();
    assert_eq!(after[..36], before[..36]);
    assert_eq!(after[header_len..], before[header_len..]);
    assert_eq!((site.open(&after, "a"), site.open(&after, "b").as_deref()), (Err("wrong_key"), Ok(PLAIN)));
    assert_eq!(fs::metadata(site.path("file")).unwrap().ino(), inode);
    assert_eq!(site.names(), ["file"]);
}

#[test]
fn a_header_that_grows_moves_the_stream_once() {
    let site = Site::new();
    site.write("file", &site.sealed(PLAIN, &["a"], 0));
    site.set_mode("file", 0o640);
    symlink("file", site.path("link")).unwrap();
    let done = site.step(&["--key-file", "a.key", "--add", "b.key", "link"], "rekeyed");
    assert_eq!(done["stream_moved"], true);
    assert!(fs::symlink_metadata(site.path("link")).unwrap().is_symlink());
    assert_eq!(site.mode("file"), 0o640);
    // The next ones have room, and a key that leaves makes some.
    let done = site.step(&["--key-file", "b.key", "--add", "c.key", "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], done["slots"].as_array().unwrap().len()), (&false.into(), 3));
    let drop = site.key("a").id().to_string();
    let done = site.step(&["--key-file", "c.key", "--drop", &drop, "file"], "rekeyed");
    assert_eq!((&done["stream_moved"], done["slots"].as_array().unwrap().len()), (&false.into(), 2));
    let after = site.read("file");
    assert_eq!(site.open(&after, "a"), Err("wrong_key"));
    for key in ["b", "c"] {
        assert_eq!(site.open(&after, key).unwrap(), PLAIN);
    }
    assert_eq!(site.names(), ["file", "link"]);
}

#[test]
fn rotation_of_ten_gibibytes_writes_less_than_64_kib() {
    let site = Site::new();
    let len = 10 << 30;
    let header = site.sealed(b"", &["a"], 0);
    let mut file = fs::File::create(site.path("big")).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(len).unwrap();
    // A block at the end, so that a copy would not be sparse by chance.
    file.seek(SeekFrom::Start(len - 4096)).unwrap();
    file.write_all(&[9; 4096]).unwrap();
    file.sync_all().unwrap();
    let before = fs::metadata(site.path("big")).unwrap();
    let done = site.step(&["--key-file", "a.key", "--add", "b.key", "--replace", "big"], "rekeyed");
    let after = fs::metadata(site.path("big")).unwrap();
    assert!(done["written"].as_u64().unwrap() < 1024, "{done}");
    assert_eq!((after.len(), after.ino(), after.blocks()), (before.len(), before.ino(), before.blocks()));
    let read = Header::read(&mut fs::File::open(site.path("big")).unwrap()).unwrap();
    assert!(read.unlock(&[site.key("b")]).is_ok());
}

#[test]
fn a_pipe_gives_the_new_header_and_the_same_rest() {
    let site = Site::new();
    let plain = vec![3; 9_000_000];
    let whole = site.sealed(&plain, &["a"], 0);
    for args in [&["--key-file", "a.key", "--add", "b.key"][..], &["--key-file", "a.key", "--add", "b.key", "-"]] {
        let output = site.run(args, &whole);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout.len(), whole.len() + SLOT_FIELD_LEN);
        for key in ["a", "b"] {
            assert_eq!(site.open(&output.stdout, key).unwrap(), plain);
        }
    }
    // A small part, or the head alone: its length stays with --replace, and the rest fits.
    for cut in [Header::read(&mut &whole[..]).unwrap().as_bytes().len(), 200, 5000, 300_000] {
        let output = site.run(&["--key-file", "a.key", "--add", "b.key", "--replace"], &whole[..cut]);
        assert_eq!(output.stdout.len(), cut);
        assert_eq!(site.open(&[&output.stdout, &whole[cut..]].concat(), "b").unwrap(), plain);
    }
    site.write("in", &whole);
    let output = site.run(&["--key-file", "a.key", "--add", "b.key", "in", "-o", "out"], b"");
    assert_eq!((output.status.code(), site.read("in") == whole), (Some(0), true));
    assert_eq!(site.open(&site.read("out"), "b").unwrap(), plain);
    // What comes from a pipe needs no key in a file, and the other way round.
    let output = site.run(&["--key-file", "-", "--add", "b.key", "in", "-o", "out"], &site.read("a.key"));
    assert_eq!(output.status.code(), Some(0));
    assert_refused(&site.run(&["--key-file", "-", "--add", "b.key"], &whole), 2, "usage");
}

#[test]
fn a_published_small_part_gets_a_receipt_that_fits() {
    let site = Site::new();
    let plain = vec![5; 100_000];
    let whole = site.sealed(&plain, &["a"], 0);
    let (small, big) = whole.split_at(30_000);
    let receipt = |small: &[u8]| {
        let part = |bytes: &[u8]| {
            let digest = copy_digest(bytes, std::io::sink()).unwrap();
            PartReceipt { size: digest.len, sha256: digest.hex() }
        };
        PartsReceipt { parts: 1, name: Some("models/a".parse().unwrap()), small: part(small), big: part(big) }
    };
    let published = [&receipt(small).to_line()[..], small].concat();
    site.write("published", &published);
    let piped = site.run(&["--key-file", "a.key", "--add", "b.key"], &published);
    assert_eq!(piped.status.code(), Some(0));
    let done = site.step(&["--key-file", "a.key", "--add", "b.key", "published"], "rekeyed");
    assert_eq!(done["stream_moved"], true);
    for bytes in [piped.stdout, site.read("published")] {
        let (taken, rest) = PartsReceipt::split_prefix(&bytes).unwrap().unwrap();
        assert_eq!(taken, receipt(rest));
        assert_eq!(taken.big, receipt(small).big);
        assert_eq!(rest.len(), small.len() + SLOT_FIELD_LEN);
        for key in ["a", "b"] {
            assert_eq!(site.open(&[rest, big].concat(), key).unwrap(), plain);
        }
    }
    let mut damaged = published.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "b.key"], &damaged), 65, "digest_mismatch");
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "b.key"], &published[..20_000]), 65, "digest_mismatch");
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "b.key"], b"{\"parts\":1,\n"), 65, "malformed");
    let long = [&published[..], &vec![0; 4 << 20]].concat();
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "b.key"], &long), 65, "malformed");
    site.write("published", &damaged);
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "b.key", "published"], b""), 65, "digest_mismatch");
    assert_eq!((site.read("published") == damaged, site.names()), (true, vec!["published".to_owned()]));
}

#[test]
fn what_is_refused_changes_nothing() {
    let site = Site::new();
    let before = site.sealed(PLAIN, &["a", "b"], 0);
    site.write("file", &before);
    let id = |name: &str| site.key(name).id().to_string();
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let run = |args: &[&str]| site.run(&[args, &["file"]].concat(), b"");
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
    assert_eq!((site.read("file") == before, site.names()), (true, vec!["file".to_owned()]));

    let mut tampered = before.clone();
    tampered[90] ^= 1;
    site.write("file", &tampered);
    assert_refused(&run(&["--key-file", "a.key", "--add", "c.key"]), 65, "header_tampered");
    for (name, bytes, code) in [("cut", &before[..100], "truncated"), ("plain", b"plain", "not_sealed")] {
        site.write(name, bytes);
        assert_refused(&site.run(&["--key-file", "a.key", "--add", "c.key", name], b""), 65, code);
        assert_refused(&site.run(&["--key-file", "a.key", "--add", "c.key"], bytes), 65, code);
        assert_eq!(site.read(name), bytes);
    }
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "c.key"], b""), 65, "no_input");
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "c.key", "none"], b""), 66, "not_found");
    assert_refused(&site.run(&["--key-file", "a.key", "--add", "c.key", "."], b""), 2, "usage");
}

/// Whoever may read a file can lock it, and need not let go.
#[test]
fn a_file_that_another_process_has_locked_is_not_waited_for_without_end() {
    let site = Site::new();
    let before = site.sealed(PLAIN, &["a"], 0);
    site.write("file", &before);
    let reader = fs::File::open(site.path("file")).unwrap();
    reader.lock_shared().unwrap();
    let add = ["--key-file", "a.key", "--add", "b.key", "file"];
    for args in [&add[..], &["--recover", "file"]] {
        let output = site.command(args).env("AZ_LOCK_TIMEOUT", "0").output().unwrap();
        let events = assert_refused(&output, 75, "temporary");
        let holder = format!("locked by process {} (", std::process::id());
        for part in [holder, format!("\"pid\":{}", std::process::id()), "\"step\":\"lock-wait\"".to_owned()] {
            assert!(events.contains(&part), "{part}: {events}");
        }
    }
    assert_refused(&site.command(&add).env("AZ_LOCK_TIMEOUT", "soon").output().unwrap(), 78, "config");
    assert_eq!(site.read("file"), before);
    // One that lets go is waited for.
    let mut waiting = site.command(&add).spawn().unwrap();
    let mut events = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(events.by_ref().any(|line| line.contains("lock-wait")));
    reader.unlock().unwrap();
    assert!(events.any(|line| line.contains("\"ready\"")));
    assert!(waiting.wait().unwrap().success());
    assert!(site.open(&site.read("file"), "b").is_ok());
}
