//! Memory does not depend on the number of members and layers, nor on the length of
//! their names. Each archive is read by a process of its own, whose peak is measured.

#![allow(clippy::print_stdout, reason = "the peaks are passed on and shown")]
#![cfg(target_os = "linux")]

use crate::odd::{END, extension, file, good, link, pax};
use loader_archive::{ArchiveReader, Error, Image, Layer, SkipLayers};
use std::process::Command;

/// The variable that makes a process one that reads.
const CASE: &str = "AZ_TEST_ARCHIVE_CASE";

/// Maximum number of KiB that a reader may use in addition to the memory of an idle process.
const PEAK_MAX: u64 = 32 * 1024;

/// Number of members, and of bytes of the name of each twentieth.
const MEMBERS: usize = 30_000;
const NAME_LEN: usize = 60 * 1024;

/// Returns a member that is made of pieces, for member `n` of a case.
fn piece(case: &str, n: usize, name: &[u8]) -> Vec<u8> {
    let name = [name, format!("{n}").as_bytes()].concat();
    let long = extension(b'L', &name);
    match case.trim_start_matches("skipped ") {
        "files" => [long, file("x", b"text")].concat(),
        "different files" => [long, file("x", format!("text {n}").as_bytes())].concat(),
        "layers" => [long, file("x", &inner(&file(&format!("{n}"), b"")))].concat(),
        "bad layers" => {
            let inside = [pax(&[(b"path", &[b"../", &name[..]].concat())]), file("x", b"")].concat();
            file(&format!("{n}"), &inner(&inside))
        }
        "links" => [extension(b'K', &name), long, link(b'2', "x", "y")].concat(),
        "documents" => [long, file("x", format!("{{\"n\":{n}}}").as_bytes())].concat(),
        "sparse" => [long, pax(&[(b"GNU.sparse.major", b"1")]), file("x", b"text")].concat(),
        "layer.tar" => {
            let name = [&name[..], b"/layer.tar"].concat();
            [extension(b'L', &name), file("x", &inner(&file(&format!("{n:05}"), b"")))].concat()
        }
        _ => panic!("no case {case}"),
    }
}

fn inner(members: &[u8]) -> Vec<u8> {
    [members, &END].concat()
}

/// Reads an archive of many members, which is never whole in memory.
fn run(case: &str) {
    let name = vec![b'x'; NAME_LEN];
    let size = inner(&file("00000", b"")).len() as u64;
    let digest = Some(format!("sha256:{}", "0".repeat(64)));
    let layer = Layer { diff_id: digest, digest: None, size: Some(size) };
    let image = Image { layers: vec![layer], ..Image::default() };
    let skip = match case.starts_with("skipped ") {
        true => SkipLayers::new(&[image], |_| true),
        false => SkipLayers::default(),
    };
    let mut reader = ArchiveReader::new(skip);
    let mut push = |bytes: &[u8]| reader.push::<Error>(bytes, &mut |_| Ok(())).unwrap();
    for n in 0..MEMBERS {
        let len = if n % 20 == 0 { NAME_LEN } else { 100 };
        push(&piece(case, n, &name[..len]));
    }
    push(&good().archive());
    let archive = reader.finish().unwrap();
    assert_eq!(archive.images().unwrap()[0].tags, [crate::odd::TAG]);
    assert_eq!(archive.skipped > 0, case == "skipped layer.tar");
}

/// Peak of this process in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_depend_on_members_and_their_names() {
    if let Ok(case) = std::env::var(CASE) {
        let before = peak();
        run(&case);
        println!("peak: {} KiB", peak() - before);
        return;
    }
    let cases = [
        "files",
        "different files",
        "layers",
        "bad layers",
        "links",
        "documents",
        "sparse",
        "layer.tar",
        "skipped layer.tar",
        "skipped files",
    ];
    let running = cases.map(|case| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "memory::memory_does_not_depend_on_members_and_their_names", "--nocapture"])
            .env(CASE, case);
        (case, command.output().unwrap())
    });
    for (case, output) in running {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{case}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let peak = text.lines().find_map(|line| line.split_once("peak: ")).unwrap().1;
        let peak: u64 = peak.trim_end_matches(" KiB").parse().unwrap();
        println!("{case}: {peak} KiB");
        assert!(peak < PEAK_MAX, "{case}: {peak} KiB");
    }
}
