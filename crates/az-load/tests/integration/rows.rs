//! Every way to spoil an archive, through az-load into a real engine: nothing new
//! is tagged, and the exit status is the documented one.

use crate::engines::{Engine, docker, sealed, unique};
use crate::sample::{Sample, Tar, gzip};

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

/// Ways to spoil an archive of either layout.
fn spoiled(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flip = |what: &[u8], offset: usize| flipped(bytes, find(bytes, what) + offset);
    vec![
        ("no end", bytes[..bytes.len() - 1024].to_vec()),
        ("half an end", bytes[..bytes.len() - 512].to_vec()),
        ("garbage behind", [bytes, &b"garbage"[..]].concat()),
        ("two tars", [bytes, bytes].concat()),
        ("a flip in a tag", flip(b"\"RepoTags\"", 13 + 20)),
        ("a flip in manifest.json", flip(b"\"Config\"", 20)),
        ("a flip in a config", flip(b"\"architecture\"", 18)),
        ("a flip in a layer", flipped(bytes, bytes.len() / 2)),
    ]
}

/// The same for the layer of the second image alone.
fn second_spoiled(legacy: &[u8]) -> Vec<u8> {
    let borders = borders(legacy);
    flipped(legacy, borders[borders.len() - 2 - 3 * 4] + 2000)
}

fn rows(engine: &Engine) {
    let case = Case::new();
    let (legacy, oci) = (case.sample().legacy(), case.sample().oci(false));
    loaded(engine, &case, "whole", &legacy);
    loaded(engine, &case, "whole, gzip", &gzip(&legacy));
    loaded(engine, &case, "whole, both layouts, a packed layer", &oci);
    loaded(engine, &case, "the names in front", &case.sample().oci(true));

    for (layout, bytes) in [("legacy", &legacy), ("oci", &oci)] {
        for (row, bytes) in spoiled(bytes) {
            refused(engine, &case, &format!("{layout}, {row}"), &bytes, 65);
        }
    }
    refused(engine, &case, "a flip in the second image", &second_spoiled(&legacy), 65);
    for (row, name) in [("its layer", "d/layer.tar"), ("a shared layer", "a/layer.tar")] {
        refused(engine, &case, &format!("{row} is missing"), &without(&legacy, name), 65);
    }
    let packed = gzip(&legacy);
    refused(engine, &case, "gzip without its checksum", &packed[..packed.len() - 8], 65);
    refused(engine, &case, "gzip cut", &packed[..packed.len() / 2], 65);
    refused(engine, &case, "xz", b"\xfd7zXZ\0 and so on", 65);
    refused(engine, &case, "empty", b"", 65);
    refused(engine, &case, "zeros", &[0; 100_000], 65);
    let noise = crate::sample::layer("noise", 100_000);
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

#[test]
fn docker_tags_nothing_from_a_spoiled_archive_in_gzip() {
    let Some(engine) = docker() else { return };
    let case = Case::new();
    let legacy = case.sample().legacy();
    for (row, bytes) in spoiled(&legacy) {
        refused(&engine, &case, &format!("gzip, {row}"), &gzip(&bytes), 65);
    }
    refused(&engine, &case, "gzip, a flip in the second image", &gzip(&second_spoiled(&legacy)), 65);
    let packed = gzip(&legacy);
    for (row, bytes) in [
        ("something behind it", [&packed[..], b"x"].concat()),
        ("two of it", [&packed[..], &packed[..]].concat()),
        ("a flip in its checksum", flipped(&packed, packed.len() - 6)),
        ("a flip in its length", flipped(&packed, packed.len() - 2)),
        ("a flip in the middle", flipped(&packed, packed.len() / 2)),
    ] {
        refused(&engine, &case, &format!("gzip, {row}"), &bytes, 65);
    }
    for cut in [1, 2, 9, 10, 11, packed.len() / 3, packed.len() - 9, packed.len() - 1] {
        refused(&engine, &case, &format!("gzip cut at {cut}"), &packed[..cut], 65);
    }
}

#[test]
fn docker_tags_nothing_from_a_spoiled_archive_whose_base_is_skipped() {
    let Some(engine) = docker().filter(Engine::has_own_store) else { return };
    let case = Case::new();
    let legacy = case.sample().legacy();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), sealed(&legacy)).unwrap();
    let load = |bytes: &[u8]| {
        engine.load(bytes, |command| command.arg("--skip-present-layers").arg("--expect-images").arg(list.path()))
    };
    assert_eq!(load(&legacy).exit, Some(0));
    // What the first image brought is there; the second one is new again.
    engine.remove(&format!("{}:2", case.two));
    let without_base = without(&legacy, "a/layer.tar");
    for (kind, archive) in [("whole", &legacy), ("without the base", &without_base)] {
        let mut rows = spoiled(archive);
        // A skipped layer may be anything: nobody receives it.
        rows.retain(|(row, _)| *row != "a flip in a layer");
        rows.push(("a flip in the new layer", second_spoiled(archive)));
        rows.push(("the new layer is missing", without(archive, "d/layer.tar")));
        for cut in borders(archive).into_iter().filter(|cut| *cut > 0) {
            rows.push(("cut", archive[..cut].to_vec()));
        }
        for (row, bytes) in rows {
            let ran = load(&bytes);
            assert_eq!(ran.exit, Some(65), "{kind}, {row}: {}", ran.stderr);
            assert!(!engine.has(&case.two), "{kind}, {row}");
        }
        let ran = load(archive);
        assert!(
            ran.exit == Some(0) && ran.stderr.contains("layers-skipped") && engine.has(&case.two),
            "{}",
            ran.stderr
        );
        engine.remove(&format!("{}:2", case.two));
    }
    case.remove(&engine);
}
