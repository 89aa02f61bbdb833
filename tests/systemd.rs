//! The units of `examples/systemd`: systemd takes them without a word, and they
//! try again exactly where the table of exit status says that it is worth it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tests::{folder, say};

fn unit(name: &str) -> PathBuf {
    folder().join("../examples/systemd").join(name)
}

/// The numbers of one setting of the service.
fn numbers(setting: &str) -> BTreeSet<u8> {
    let text = fs::read_to_string(unit("az-unlock.service")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    line.unwrap().split(' ').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn only_what_a_second_try_may_mend_is_tried_again() {
    let readme = fs::read_to_string(folder().join("../README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
        Some((cells.first()?.parse::<u8>().ok()?, *cells.get(2)?))
    });
    let never: BTreeSet<_> = rows.filter(|(_, again)| *again == "no").map(|(code, _)| code).collect();
    assert!(never.len() > 8, "the table of exit status was not found");
    assert_eq!(numbers("RestartPreventExitStatus"), never);
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        say("skipped: systemd-analyze is not installed");
        return;
    }
    let dir = TempDir::new().unwrap();
    // What the service runs must be there, and so must the unit it comes after.
    let unlock = folder().join("../scripts/unlock");
    let service = fs::read_to_string(unit("az-unlock.service")).unwrap();
    let service = service.replace("/usr/bin/az-unlock", unlock.to_str().unwrap());
    fs::write(dir.path().join("az-unlock.service"), service).unwrap();
    fs::copy(unit("az-unlock.timer"), dir.path().join("az-unlock.timer")).unwrap();
    fs::write(dir.path().join("docker.service"), "[Service]\nExecStart=/bin/true\n").unwrap();

    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "az-unlock.service", "az-unlock.timer"])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && !words.contains("az-unlock"), "{words}");

    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager", "./az-unlock.service"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
}
