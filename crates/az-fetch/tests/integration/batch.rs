//! Tests of several names in one run, of free space on the disk, and of an export directory that
//! is used without a network.

use crate::fixture::{FRAGMENT, FetchFixture, HUGE, NAME, SMALL, text};
use std::path::Path;
use std::process::{Command, Output};

fn lines(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs az-fetch with the export directory, the password and the hardware id alone.
fn run_from_export(fixture: &FetchFixture, stick: &Path, hwid: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_az-fetch"));
    command.env_clear().arg("--from").arg(stick).arg("--hwid-file").arg(fixture.path(hwid));
    command.arg("--credentials-file").arg(fixture.path("operator.json")).args(args).output().unwrap()
}

#[test]
fn failed_name_does_not_affect_the_others() {
    let fixture = FetchFixture::new(3 << 20);
    let out = fixture.path("out");
    let run = fixture.run(&["models/none", NAME, "other/none", "--output-dir", out.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(66), "{}", text(&run.stderr));
    assert!(std::fs::read(out.join(NAME)).unwrap() == fixture.whole());
    assert_eq!(std::fs::read_dir(out.join("models")).unwrap().count(), 1, "no incomplete file");
    let lines = lines(&run);
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["models/none", NAME, "other/none"]);
    assert_eq!(lines[0]["error"]["exit"], 66);
    assert_eq!(lines[1]["size"], fixture.whole().len());
    assert!(lines[1]["error"].is_null() && lines[1]["file"] == out.join(NAME).to_str().unwrap());
    assert!(text(&run.stderr).contains("2 of 3 names failed; first error: "), "{}", text(&run.stderr));
}

#[test]
fn names_that_cannot_be_combined_are_refused() {
    let fixture = FetchFixture::new(0);
    for args in [
        &[NAME, NAME][..],
        &[NAME, "list"],
        &["list", "a", "b"],
        &["key-fragment", NAME],
        &[NAME, "-o", "a", "--output-dir", "b"],
        &["key-fragment", "--offline"],
    ] {
        let run = fixture.run(args);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", text(&run.stderr));
    }
    assert!(fixture.server().requests().is_empty());
}

#[test]
fn directory_as_output_is_refused() {
    let fixture = FetchFixture::new(0);
    for dir in [fixture.path("").to_str().unwrap(), &format!("{}/", fixture.path("none").display())] {
        let run = fixture.run(&[NAME, "-o", dir]);
        assert_eq!(run.status.code(), Some(73));
        assert!(text(&run.stderr).contains("is a directory"), "{}", text(&run.stderr));
    }
    assert!(fixture.server().requests().is_empty());
}

#[test]
fn fetch_without_room_does_not_start() {
    let fixture = FetchFixture::new(0);
    let (file, dir) = (fixture.path("huge"), fixture.path("out"));
    let (file_name, dir) = (file.to_str().unwrap(), dir.to_str().unwrap());
    for (args, cached, hint) in [
        (["-o", file_name], false, "write elsewhere"),
        (["--output-dir", dir], false, "write elsewhere"),
        (["--part", "whole"], true, "run without --cache-dir"),
        (["--export", dir], false, "larger disk with --export"),
    ] {
        let mut command = fixture.command(&[&[HUGE], &args[..]].concat());
        let run = if cached { &mut command } else { command.env_remove("AZ_CACHE_DIR") }.output().unwrap();
        assert_eq!(run.status.code(), Some(74), "{args:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains("bytes are needed and"), "{}", text(&run.stderr));
        assert!(text(&run.stderr).contains(hint), "{}", text(&run.stderr));
    }
    assert!(!file.exists() && fixture.ranges().is_empty());
}

#[test]
fn export_suffices_without_a_network() {
    let mut fixture = FetchFixture::new(3 << 20);
    let stick = fixture.path("stick");
    let exported = fixture.run(&["key-fragment", NAME, "--export", stick.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(lines(&exported).len(), 2);
    for file in ["key-fragment.sealed", "models/yolo.onnx.small"] {
        let sealed = std::fs::read(stick.join(file)).unwrap();
        let contains = |what: &[u8]| sealed.windows(what.len()).any(|window| window == what);
        assert!(!contains(SMALL) && !contains(FRAGMENT), "{file} is not sealed");
    }
    fixture.set_server(FetchFixture::new(0).second_server());
    fixture.secret("other-hwid", "b2".repeat(32));

    let whole = run_from_export(&fixture, &stick, "hwid", &[NAME]);
    assert!(whole.status.success() && whole.stdout == fixture.whole(), "{}", text(&whole.stderr));
    assert_eq!(run_from_export(&fixture, &stick, "hwid", &["key-fragment"]).stdout, FRAGMENT);
    assert_eq!(run_from_export(&fixture, &stick, "other-hwid", &[NAME]).status.code(), Some(79));
    assert_eq!(run_from_export(&fixture, &stick, "hwid", &["models/none"]).status.code(), Some(66));
    assert_eq!(run_from_export(&fixture, &fixture.path("none"), "hwid", &[NAME]).status.code(), Some(66));
    assert!(!fixture.path("none").exists());

    let big = stick.join("models/yolo.onnx.big");
    let mut bytes = std::fs::read(&big).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(&big, bytes).unwrap();
    let damaged = run_from_export(&fixture, &stick, "hwid", &[NAME]);
    assert!(damaged.status.code() == Some(66) && damaged.stdout.is_empty(), "{}", text(&damaged.stderr));
    assert!(fixture.server().requests().is_empty());
}
