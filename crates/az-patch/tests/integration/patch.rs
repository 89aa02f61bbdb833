//! Patches that are applied.

use crate::workdir::{WorkDir, content, step};
use loader_seal::Header;
use loader_testkit::test_dir::assert_refused;
use std::os::unix::fs::symlink;

const IN_PLACE: [&str; 3] = ["--key-file", "a.key", "file"];

#[test]
fn file_becomes_the_new_release() {
    let dir = WorkDir::new();
    let old = dir.release(1, &["a", "b"]);
    dir.write("file", &old);
    dir.set_mode("file", 0o640);
    symlink("file", dir.path("link")).unwrap();
    let finished = dir.run(&["--key-file", "a.key", "link"], &dir.patch(1, 2));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(dir.open("file", "a").unwrap() == content(2));
    assert_eq!((dir.names(), dir.mode("file")), (vec!["file".to_owned(), "link".to_owned()], 0o640));

    let new = Header::read(&mut &dir.read("file")[..]).unwrap();
    let old = Header::read(&mut &old[..]).unwrap();
    assert_ne!(new.file_id(), old.file_id());
    assert_eq!(new.segment_len(), old.segment_len());
    assert_eq!(new.sealed_len(), Some(dir.read("file").len() as u64));
    assert_eq!(dir.open("file", "b"), None);
    assert_eq!(step(&finished, "slots-lost").unwrap()["slots"][0], dir.key("b").id().to_string());
    let patched = step(&finished, "patched").unwrap();
    let made = patched["copied"].as_u64().unwrap() + patched["coded"].as_u64().unwrap();
    assert_eq!((made, &patched["release"]), (content(2).len() as u64, &2.into()));
    assert!(patched["patch_size"].as_u64().unwrap() < 10_000, "{patched}");
}

#[test]
fn patches_chain_and_all_given_keys_open_the_result() {
    let dir = WorkDir::new();
    dir.write("file", &dir.release(1, &["a", "b"]));
    for old in [1, 2, 3] {
        dir.write("patch", &dir.patch(old, old + 1));
        let args = ["--key-file", "a.key", "--key-file", "b.key", "--patch", "patch", "file"];
        let finished = dir.run(&args, b"");
        assert_eq!((finished.status, step(&finished, "slots-lost")), (0, None), "{}", finished.stderr);
    }
    for key in ["a", "b"] {
        assert!(dir.open("file", key).unwrap() == content(4));
    }
}

#[test]
fn content_is_written_with_seed() {
    let dir = WorkDir::new();
    let old = dir.release(1, &["a"]);
    dir.write("file", &old);
    let finished = dir.run(&["--key-file", "a.key", "--seed", "file", "-"], &dir.patch(1, 2));
    assert!(finished.status == 0 && finished.stdout == content(2), "{}", finished.stderr);
    dir.write("patch", &dir.patch(1, 2));
    assert_eq!(dir.run(&["--key-file", "a.key", "--seed", "file", "-o", "out", "patch"], b"").status, 0);
    assert!(dir.read("out") == content(2) && dir.read("file") == old);
}

#[test]
fn other_releases_files_and_keys_are_refused() {
    let dir = WorkDir::new();
    let (old, patch) = (dir.release(1, &["a"]), dir.patch(1, 2));
    dir.write("file", &old);
    let other = assert_refused(&dir.run(&IN_PLACE, &dir.patch(3, 2)), 65, "patch_mismatch");
    assert!(other.contains("the patch is for release"), "{other}");
    assert_refused(&dir.run(&IN_PLACE, &old), 65, "patch_invalid");
    assert_refused(&dir.run(&IN_PLACE, b""), 65, "no_input");
    assert_refused(&dir.run(&IN_PLACE, b"no sealed file"), 65, "not_sealed");
    assert_refused(&dir.run(&["--key-file", "b.key", "file"], &patch), 79, "wrong_key");
    assert_refused(&dir.run(&["--key-file", "a.key", "missing"], &patch), 66, "not_found");
    assert_refused(&dir.run(&["--key-file", "a.key", "."], &patch), 2, "usage");
    assert_refused(&dir.run(&["--key-file", "a.key", "-"], &patch), 2, "usage");
    assert_refused(&dir.run(&["--key-file", "a.key", "-o", "out", "file"], &patch), 2, "usage");
    // The header of the patch promises another release than its statement.
    let lying = dir.seal(&crate::workdir::patch(1, 2), "patch", 9, &["a"]);
    assert_refused(&dir.run(&IN_PLACE, &lying), 65, "statement_mismatch");
    assert!(dir.read("file") == old && dir.names() == ["file"]);
}

#[test]
fn older_releases_are_refused_if_a_minimum_is_given() {
    let dir = WorkDir::new();
    let old = dir.release(2, &["a"]);
    dir.write("file", &old);
    let args = ["--min-release", "2", "--key-file", "a.key", "file"];
    assert_refused(&dir.run(&args, &dir.patch(2, 1)), 79, "release_too_old");
    assert!(dir.read("file") == old);
    assert_eq!(dir.run(&args, &dir.patch(2, 3)).status, 0);
}
