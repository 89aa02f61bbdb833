//! Several names in a run, room on the disk, and a folder carried where there is
//! no network.
#![allow(clippy::unwrap_used)]

mod site;

use site::{FRAGMENT, HUGE, NAME, SMALL, Site};
use std::path::Path;
use std::process::{Command, Output};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run with nothing but the folder, the password and the hardware id.
fn carried(site: &Site, stick: &Path, hwid: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_az-fetch"));
    command.env_clear().arg("--from").arg(stick).arg("--hwid-file").arg(site.path(hwid));
    command.arg("--credentials-file").arg(site.path("credentials")).args(args).output().unwrap()
}

#[test]
fn one_that_fails_does_not_lose_the_others() {
    let site = Site::new(3 << 20);
    let out = site.path("out");
    let run = site.run(&["models/none", NAME, "other/none", "--output-dir", out.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(66), "{}", text(&run.stderr));
    assert!(std::fs::read(out.join(NAME)).unwrap() == site.whole());
    assert_eq!(std::fs::read_dir(out.join("models")).unwrap().count(), 1, "nothing half-written");
    let lines = lines(&run);
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["models/none", NAME, "other/none"]);
    assert_eq!(lines[0]["error"]["exit"], 66);
    assert_eq!(lines[1]["size"], site.whole().len());
    assert!(lines[1]["error"].is_null() && lines[1]["file"] == out.join(NAME).to_str().unwrap());
    assert!(text(&run.stderr).contains("2 of 3 were not fetched; the first: "), "{}", text(&run.stderr));
}

#[test]
fn several_names_need_a_folder_and_list_a_place_of_its_own() {
    let site = Site::new(0);
    for args in [
        &[NAME, NAME][..],
        &[NAME, "list"],
        &["list", "a", "b"],
        &["key-fragment", NAME],
        &[NAME, "-o", "a", "--output-dir", "b"],
        &["key-fragment", "--offline"],
    ] {
        let run = site.run(args);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", text(&run.stderr));
    }
    assert!(site.server.requests().is_empty());
}

#[test]
fn a_folder_is_no_output() {
    let site = Site::new(0);
    for folder in [site.path("").to_str().unwrap(), &format!("{}/", site.path("none").display())] {
        let run = site.run(&[NAME, "-o", folder]);
        assert_eq!(run.status.code(), Some(73));
        assert!(text(&run.stderr).contains("is a directory"), "{}", text(&run.stderr));
    }
    assert!(site.server.requests().is_empty());
}

#[test]
fn what_has_no_room_is_not_begun() {
    let site = Site::new(0);
    let (file, dir) = (site.path("huge"), site.path("out"));
    let (file_name, dir) = (file.to_str().unwrap(), dir.to_str().unwrap());
    for (args, cached, hint) in [
        (["-o", file_name], false, "write elsewhere"),
        (["--output-dir", dir], false, "write elsewhere"),
        (["--part", "whole"], true, "leave out --cache-dir"),
        (["--export", dir], false, "larger disk with --export"),
    ] {
        let mut command = site.command(&[&[HUGE], &args[..]].concat());
        let run = if cached { &mut command } else { command.env_remove("AZ_CACHE_DIR") }.output().unwrap();
        assert_eq!(run.status.code(), Some(74), "{args:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains("bytes are needed and"), "{}", text(&run.stderr));
        assert!(text(&run.stderr).contains(hint), "{}", text(&run.stderr));
    }
    assert!(!file.exists() && site.ranges().is_empty());
}

#[test]
fn a_carried_folder_is_enough_without_a_network() {
    let mut site = Site::new(3 << 20);
    let stick = site.path("stick");
    let exported = site.run(&["key-fragment", NAME, "--export", stick.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(lines(&exported).len(), 2);
    for file in ["key-fragment.sealed", "models/yolo.onnx.small"] {
        let sealed = std::fs::read(stick.join(file)).unwrap();
        let lies_open = |what: &[u8]| sealed.windows(what.len()).any(|window| window == what);
        assert!(!lies_open(SMALL) && !lies_open(FRAGMENT), "{file} is open");
    }
    site.server = Site::new(0).server;
    site.secret("other-hwid", "b2".repeat(32).as_bytes());

    let whole = carried(&site, &stick, "hwid", &[NAME]);
    assert!(whole.status.success() && whole.stdout == site.whole(), "{}", text(&whole.stderr));
    assert_eq!(carried(&site, &stick, "hwid", &["key-fragment"]).stdout, FRAGMENT);
    assert_eq!(carried(&site, &stick, "other-hwid", &[NAME]).status.code(), Some(79));
    assert_eq!(carried(&site, &stick, "hwid", &["models/none"]).status.code(), Some(66));
    assert_eq!(carried(&site, &site.path("none"), "hwid", &[NAME]).status.code(), Some(66));
    assert!(!site.path("none").exists());

    let big = stick.join("models/yolo.onnx.big");
    let mut bytes = std::fs::read(&big).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(&big, bytes).unwrap();
    let damaged = carried(&site, &stick, "hwid", &[NAME]);
    assert!(damaged.status.code() == Some(66) && damaged.stdout.is_empty(), "{}", text(&damaged.stderr));
    assert!(site.server.requests().is_empty());
}
