//! Every script of `examples/`, run as it stands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tests::site::{Site, has_engine};
use tests::{Finished, bash, folder, run, say};

/// Runs `examples/<name>` in a folder of its own, with the environment that
/// `examples/README.md` promises.
fn example(site: &Site, name: &str, args: &[&str], sink: &str, input: &[u8]) -> (TempDir, Finished) {
    let dir = TempDir::new().unwrap();
    let mut command = bash(r#"exec bash -o pipefail "$0" "$@""#);
    command.arg(folder().join("../examples").join(name)).args(args).current_dir(dir.path()).env("SINK", sink);
    site.configure(&mut command);
    let finished = run(command, input);
    assert_eq!(finished.status, 0, "{name}: {}", finished.stderr);
    (dir, finished)
}

fn listing(archive: &Path) -> String {
    let mut command = bash(r#"tar t < "$0""#);
    command.arg(archive);
    run(command, b"").text()
}

#[test]
fn no_example_is_left_out() {
    let mut names: Vec<_> = fs::read_dir(folder().join("../examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sh"))
        .collect();
    names.sort();
    let tested = ["fetch-model.sh", "publish-archive.sh", "rerun-one-step.sh", "unlock.sh", "where-it-failed.sh"];
    assert_eq!(names, tested, "a script without a test of its own, or a test without its script");
}

#[test]
fn unlock() {
    let site = Site::start();
    let (_, finished) = example(&site, "unlock.sh", &[], "tar t", b"");
    assert_eq!(finished.text(), listing(&site.file("images.tar")));
}

#[test]
fn unlock_into_the_engine() {
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let site = Site::start();
    let (_, finished) = example(&site, "unlock.sh", &[], "docker load", b"");
    for tag in site.tags() {
        assert!(finished.text().contains(tag), "{}", finished.text());
        let removed = std::process::Command::new("docker").args(["image", "rm", tag]).output().unwrap();
        assert!(removed.status.success(), "{tag} was not there");
    }
}

#[test]
fn rerun_one_step() {
    let site = Site::start();
    let (_, finished) = example(&site, "rerun-one-step.sh", &[], "tar t", b"");
    let list = listing(&site.file("images.tar"));
    assert_eq!(finished.text(), format!("{list}first attempt done\n{list}second attempt done\n"));
}

#[test]
fn fetch_model() {
    let site = Site::start();
    let key = site.file("key");
    let (_, finished) = example(&site, "fetch-model.sh", &["models/yolo.onnx", key.to_str().unwrap()], "", b"");
    assert!(finished.stdout == fs::read(site.file("model")).unwrap(), "other bytes");
}

#[test]
fn publish_archive() {
    let site = Site::start();
    let archive = fs::read(site.file("images.tar")).unwrap();
    let (dir, finished) = example(&site, "publish-archive.sh", &["."], "", &archive);
    assert!(finished.text().starts_with(r#"{"verified":false,"#), "{}", finished.text());
    let mut command = bash("az-join fragment-*.frag | az-decrypt --key-file - images.enc");
    command.current_dir(dir.path());
    assert!(run(command, b"").stdout == archive, "other bytes");
}

#[test]
fn where_it_failed() {
    let site = Site::start();
    let (_, finished) = example(&site, "where-it-failed.sh", &[], "", b"");
    assert!(finished.text().contains("az-login"), "{}", finished.text());
    assert!(finished.text().contains("its exit status: 77"), "{}", finished.text());
}
