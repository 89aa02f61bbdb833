//! Output, errors and exit status of az-hwid.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f564231";
const MACHINE: &str = "9b1f6c2e5d0a4f7e8c3b2a1908f7e6d5";

/// Card of [`system`] with the salt 00 01 .. 0f; with a random salt the tests would fail
/// occasionally, since a card misses one change in 65536.
const CARD: &str = r#"{"hwid_card":1,"salt":"000102030405060708090a0b0c0d0e0f","sources":{"dmi-product-uuid":["321d"],"machine-id":["87fc"]}}"#;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn system() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "sys/class/dmi/id/product_uuid", UUID);
    put(root.path(), "sys/class/dmi/id/board_serial", "To be filled by O.E.M.\n");
    put(root.path(), "etc/machine-id", MACHINE);
    root
}

fn az_hwid(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_az-hwid"));
    command.arg("--sysroot").arg(root).args(args).current_dir(root).env_clear().env("HOME", "/nonexistent");
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

#[track_caller]
fn assert_failure(output: &Output, status: i32, code: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    for serial in [UUID, MACHINE] {
        assert!(!stderr.contains(serial), "{stderr}");
    }
    stderr
}

#[test]
fn the_id_is_one_line_and_reproducible() {
    let root = system();
    let output = az_hwid(root.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let line = stdout(&output).strip_suffix('\n').unwrap();
    assert!(line.len() == 64 && line.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{line}");
    assert_eq!(az_hwid(root.path(), &[]).stdout, output.stdout);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(line));
    fs::write(root.path().join("etc/machine-id"), MACHINE.replace('8', "9")).unwrap();
    assert_ne!(stdout(&az_hwid(root.path(), &[])).trim(), line);
}

#[test]
fn without_a_strong_source_the_status_is_78_unless_a_file_has_the_id() {
    let root = system();
    fs::remove_file(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    for args in [&[][..], &["--enroll"]] {
        let output = az_hwid(root.path(), args);
        let stderr = assert_failure(&output, 78, "config");
        assert!(stderr.contains("--hwid-file") && stderr.contains("dmi-board-serial"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    let hex = "Ab01".repeat(16);
    put(root.path(), "hwid", &format!("# kept\n{hex}\n"));
    let output = az_hwid(root.path(), &["--hwid-file", "hwid"]);
    assert_eq!((stdout(&output).trim(), output.status.code()), (hex.to_lowercase().as_str(), Some(0)));
    put(root.path(), "bad", &hex[1..]);
    assert_failure(&az_hwid(root.path(), &["--hwid-file", "bad"]), 65, "malformed");
    assert_failure(&az_hwid(root.path(), &["--hwid-file", "none"]), 66, "not_found");
}

#[test]
fn explain_lists_all_sources_without_serials() {
    let root = system();
    let output = az_hwid(root.path(), &["--explain"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(!stdout(&output).contains(UUID) && !stdout(&output).contains(MACHINE));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let source =
        |name: &str| list["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap().clone();
    assert_eq!(list["usable"], true);
    assert_eq!(list["sources"].as_array().unwrap().len(), 7);
    assert_eq!(source("dmi-product-uuid")["state"], "used");
    assert_eq!(source("dmi-product-uuid")["hash"].as_str().unwrap().len(), 4);
    assert_eq!(source("dmi-board-serial")["state"], "placeholder");
    assert_eq!(source("dmi-board-serial")["reason"], "placeholder: a text that was never filled in");
    assert_eq!(source("nvme-serial")["state"], "missing");
    assert_eq!(source("machine-id")["strength"], "weak");
    fs::remove_file(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    let output = az_hwid(root.path(), &["--explain"]);
    assert_failure(&output, 78, "config");
    assert!(stdout(&output).contains("\"usable\": false"));
    // The id in a file is enough for a pipeline.
    put(root.path(), "id", &"a0".repeat(32));
    assert_eq!(az_hwid(root.path(), &["--explain", "--hwid-file", "id"]).status.code(), Some(0));
}

#[test]
fn a_card_distinguishes_the_same_hardware_from_other_hardware() {
    let root = system();
    let card = az_hwid(root.path(), &["--enroll", "-o", "card"]);
    assert_eq!((card.status.code(), card.stdout.len()), (Some(0), 0));
    assert!(!fs::read_to_string(root.path().join("card")).unwrap().contains(UUID));
    put(root.path(), "fixed-card", CARD);
    for name in ["card", "fixed-card"] {
        assert_eq!(az_hwid(root.path(), &["--card", name]).stdout, az_hwid(root.path(), &[]).stdout);
    }
    put(root.path(), "etc/machine-id", &MACHINE.replace('8', "9"));
    put(root.path(), "sys/class/nvme/nvme0/serial", "S4EVNF0M812345P");
    let other = az_hwid(root.path(), &["--card", "fixed-card"]);
    let stderr = assert_failure(&other, 79, "wrong_device");
    assert!(stderr.contains("machine-id changed, nvme-serial is new"), "{stderr}");
    assert!(!stderr.contains("dmi") && other.stdout.is_empty(), "{stderr}");
    // The card is compared even if there is no id any more.
    fs::remove_file(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    let stderr = assert_failure(&az_hwid(root.path(), &["--card", "card"]), 79, "wrong_device");
    assert!(stderr.contains("dmi-product-uuid is gone"), "{stderr}");
    // An unreadable source is not a mismatch, but there is no id.
    let root = system();
    put(root.path(), "card", CARD);
    fs::remove_file(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    fs::create_dir(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    assert_failure(&az_hwid(root.path(), &["--card", "card"]), 78, "config");
    let id = "ab".repeat(32);
    put(root.path(), "hwid", &id);
    assert_eq!(stdout(&az_hwid(root.path(), &["--card", "card", "--hwid-file", "hwid"])).trim(), id);
    put(root.path(), "no-card", "{}");
    assert_failure(&az_hwid(root.path(), &["--card", "no-card"]), 65, "malformed");
    assert_failure(&az_hwid(root.path(), &["--card", "card", "--enroll"]), 2, "usage");
}
