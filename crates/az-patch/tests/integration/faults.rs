//! Lying patches, kills, a full disk, another process: the old file or the new one, never another.

use crate::workdir::{WorkDir, content, patch};
use loader_testkit::test_dir::assert_refused;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write;

const IN_PLACE: [&str; 3] = ["--key-file", "a.key", "file"];

#[test]
fn lying_patch_never_changes_the_file() {
    let dir = WorkDir::new();
    let (old, honest) = (dir.release(1, &["a"]), patch(1, 2));
    for at in (0..honest.len()).step_by(honest.len() / 60) {
        dir.write("file", &old);
        let mut lying = honest.clone();
        lying[at] ^= 0x21;
        let finished = dir.run(&IN_PLACE, &dir.seal(&lying, "patch", 2, &["a"]));
        // A bit of a zstd frame may have no meaning.
        if finished.status == 0 {
            assert!(dir.open("file", "a").unwrap() == content(2), "{at}");
        } else {
            assert_eq!(finished.status, 65, "{at}: {}", finished.stderr);
            assert!(dir.read("file") == old, "{at}");
        }
        assert_eq!(dir.names(), ["file"], "{at}");
    }
}

#[test]
fn damaged_file_is_reported_and_kept() {
    let dir = WorkDir::new();
    let mut old = dir.release(1, &["a"]);
    let middle = old.len() / 2;
    old[middle] ^= 1;
    dir.write("file", &old);
    let stderr = assert_refused(&dir.run(&IN_PLACE, &dir.patch(1, 2)), 65, "corrupt");
    assert!(stderr.contains("\"message\":\"file: segment"), "{stderr}");
    assert!(dir.read("file") == old);
}

#[test]
fn kill_at_any_moment_leaves_the_old_file_and_a_rerun_is_right() {
    let dir = WorkDir::new();
    let (old, patch) = (dir.release(1, &["a"]), dir.patch(1, 2));
    dir.write("file", &old);
    for fed in (0..patch.len()).step_by(patch.len() / 12) {
        let mut child = dir.command(&IN_PLACE).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(&patch[..fed]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(dir.read("file") == old, "{fed}");
    }
    // A pipe that ends early.
    for fed in (0..patch.len()).step_by(patch.len() / 12) {
        assert_eq!(dir.run(&IN_PLACE, &patch[..fed]).status, 65, "{fed}");
        assert!(dir.read("file") == old, "{fed}");
    }
    assert_eq!(dir.run(&IN_PLACE, &patch).status, 0);
    assert!(dir.open("file", "a").unwrap() == content(2));
    assert_eq!(dir.names(), ["file"]);
}

#[test]
fn full_disk_leaves_the_old_file() {
    let dir = WorkDir::new();
    let (old, patch) = (dir.release(1, &["a"]), dir.patch(1, 2));
    dir.write("file", &old);
    let line = "ulimit -f 4000; exec \"$AZ_PATCH\" --key-file a.key file";
    let finished = loader_testkit::run(dir.shell(line), &patch);
    assert_refused(&finished, 74, "io");
    assert!(dir.read("file") == old && dir.names() == ["file"]);
}

#[test]
fn file_that_another_process_changes_is_left_alone() {
    let dir = WorkDir::new();
    let (old, patch) = (dir.release(1, &["a"]), dir.patch(1, 2));
    dir.write("file", &old);
    let other = File::open(dir.path("file")).unwrap();
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut command = dir.command(&IN_PLACE);
    command.env("AZ_LOCK_TIMEOUT", "0");
    assert_refused(&loader_testkit::run(command, &patch), 75, "temporary");
    drop(other);
    // The keys of the file were being changed.
    dir.write(".file.rekey", b"journal");
    let stderr = assert_refused(&dir.run(&IN_PLACE, &patch), 75, "temporary");
    assert!(stderr.contains("az-rekey --recover file"), "{stderr}");
    assert!(dir.read("file") == old);
}
