//! Every way to spoil an archive, through az-load into a real engine: nothing new
//! is tagged, and the exit status is the documented one.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its case may panic")]
#![allow(dead_code, reason = "the modules serve several tests")]

mod engines;
#[path = "../../loader-archive/tests/sample/mod.rs"]
mod sample;

use engines::{Engine, docker, unique};
use sample::{Sample, Tar, gzip};

/// Two fresh names, and the archives that hold them.
struct Case {
    one: String,
    two: String,
}

impl Case {
    fn new() -> Self {
        Self { one: unique("a"), two: unique("b") }
    }

    fn sample(&self) -> Sample<'_> {
        Sample { one: &self.one, two: &self.two, len: 400_000 }
    }

    fn tagged(&self, engine: &Engine) -> bool {
        engine.has(&self.one) || engine.has(&self.two)
    }

    fn remove(&self, engine: &Engine) {
        for tag in [format!("{}:1.4", self.one), format!("{}:latest", self.one), format!("{}:2", self.two)] {
            engine.remove(&tag);
        }
    }
}

fn refused(engine: &Engine, case: &Case, row: &str, bytes: &[u8], exit: i32) {
    let ran = engine.load(bytes, |command| command);
    assert_eq!(ran.exit, Some(exit), "{row}: {}", ran.stderr);
    assert!(!case.tagged(engine), "{row}: something is tagged");
    assert_eq!(ran.stdout, "", "{row}");
    assert!(ran.stderr.lines().last().unwrap().contains("\"state\":\"error\""), "{row}");
}

fn loaded(engine: &Engine, case: &Case, row: &str, bytes: &[u8]) {
    let ran = engine.load(bytes, |command| command);
    assert_eq!(ran.exit, Some(0), "{row}: {}", ran.stderr);
    assert!(engine.has(&case.one), "{row}");
    assert!(ran.stdout.contains(&format!("{}:1.4", case.one)), "{row}: {}", ran.stdout);
    case.remove(engine);
    assert!(!case.tagged(engine), "{row}: not removed");
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1;
    flipped
}

/// Where members begin, and the end of the last one.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let mut archive = tar::Archive::new(bytes);
    let mut borders = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        borders.push(entry.raw_header_position() as usize);
        borders.push(entry.raw_file_position() as usize);
        borders.push(entry.raw_file_position() as usize + entry.size() as usize / 2);
    }
    borders.push(bytes.len() - 1024);
    borders.push(bytes.len() - 512);
    borders
}

fn rows(engine: &Engine) {
    let case = Case::new();
    let (legacy, oci) = (case.sample().legacy(), case.sample().oci(false));
    loaded(engine, &case, "whole", &legacy);
    loaded(engine, &case, "whole, gzip", &gzip(&legacy));
    loaded(engine, &case, "whole, both layouts, a packed layer", &oci);
    loaded(engine, &case, "the names in front", &case.sample().oci(true));

    for (layout, bytes) in [("legacy", &legacy), ("oci", &oci)] {
        refused(engine, &case, &format!("{layout}, no end"), &bytes[..bytes.len() - 1024], 65);
        refused(engine, &case, &format!("{layout}, half an end"), &bytes[..bytes.len() - 512], 65);
        refused(engine, &case, &format!("{layout}, garbage behind"), &[bytes, &b"garbage"[..]].concat(), 65);
        refused(engine, &case, &format!("{layout}, two tars"), &[&bytes[..], &bytes[..]].concat(), 65);
        let tag = find(bytes, case.one.as_bytes());
        refused(engine, &case, &format!("{layout}, a flip in a tag"), &flipped(bytes, tag + 20), 65);
        let manifest = find(bytes, b"\"Config\"");
        refused(engine, &case, &format!("{layout}, a flip in manifest.json"), &flipped(bytes, manifest + 20), 65);
        let config = find(bytes, b"\"architecture\"");
        refused(engine, &case, &format!("{layout}, a flip in a config"), &flipped(bytes, config + 18), 65);
        refused(engine, &case, &format!("{layout}, a flip in a layer"), &flipped(bytes, bytes.len() / 2), 65);
    }
    // The last layer belongs to the second image alone.
    let other = borders(&legacy);
    let other = other[other.len() - 2 - 3 * 4];
    refused(engine, &case, "a flip in the second image", &flipped(&legacy, other + 2000), 65);
    for (row, name) in [("its layer", "d/layer.tar"), ("a shared layer", "a/layer.tar")] {
        refused(engine, &case, &format!("{row} is missing"), &without(&legacy, name), 65);
    }
    let packed = gzip(&legacy);
    refused(engine, &case, "gzip without its checksum", &packed[..packed.len() - 8], 65);
    refused(engine, &case, "gzip cut", &packed[..packed.len() / 2], 65);
    refused(engine, &case, "xz", b"\xfd7zXZ\0 and so on", 65);
    refused(engine, &case, "empty", b"", 65);
    refused(engine, &case, "zeros", &[0; 100_000], 65);
    let noise = sample::layer("noise", 100_000);
    refused(engine, &case, "noise", &noise[600..], 65);
    refused(engine, &case, "a tar of something else", &noise, 65);
}

fn without(bytes: &[u8], name: &str) -> Vec<u8> {
    use std::io::Read;
    let mut archive = tar::Archive::new(bytes);
    let mut tar = Tar::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let target = entry.link_name().unwrap().map(|target| target.display().to_string());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        match target {
            _ if path == name => {}
            Some(target) => drop(tar.link(&path, &target)),
            None => drop(tar.file(&path, &content)),
        }
    }
    tar.end()
}

#[test]
fn docker_tags_nothing_from_a_spoiled_archive() {
    let Some(engine) = docker() else { return };
    rows(&engine);
}

#[test]
fn podman_tags_nothing_from_a_spoiled_archive() {
    if docker().is_none() {
        return;
    }
    let Some(engine) = Engine::podman() else { return };
    rows(&engine);
}

#[test]
fn docker_tags_nothing_from_an_archive_that_is_cut_anywhere() {
    let Some(engine) = docker() else { return };
    let case = Case::new();
    for bytes in [case.sample().legacy(), case.sample().oci(false)] {
        for cut in borders(&bytes) {
            if cut > 0 {
                refused(&engine, &case, &format!("cut at {cut} of {}", bytes.len()), &bytes[..cut], 65);
            }
        }
    }
}
