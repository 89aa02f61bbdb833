//! Patches are made, applied, cut off and changed.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use loader_model::Description;
use loader_pack::{PackOptions, PackedFile, Statement, copy_stated, pack};
use loader_patch::{DiffOptions, DiffSummary, Error, OldContent, Patch, diff};
use std::io::{Cursor, Read};

/// A release in memory.
struct Release {
    content: Vec<u8>,
    statement: Statement,
    bytes: Vec<u8>,
}

fn release(content: Vec<u8>) -> Release {
    let mut packed = Vec::new();
    let options = PackOptions { level: 1, description: Description::default(), threads: 1 };
    pack(&mut &content[..], &mut packed, &options).unwrap();
    let file = PackedFile::open(Cursor::new(packed)).unwrap();
    Release { content, statement: file.statement().clone(), bytes: file.statement_bytes().to_vec() }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn make(old: &Release, new: &Release) -> (Vec<u8>, DiffSummary) {
    let mut patch = Vec::new();
    let options = DiffOptions { level: 3, threads: 2 };
    let (mut old_content, mut new_content) = (&old.content[..], &new.content[..]);
    let mut done = 0;
    let summary = diff(
        &mut old_content,
        &old.statement.release_id(),
        &mut new_content,
        &new.bytes,
        &mut patch,
        &options,
        |bytes| done += bytes,
    )
    .unwrap();
    assert_eq!((done, summary.patch_len), (new.content.len() as u64, patch.len() as u64));
    (patch, summary)
}

/// Applies `patch` as az-patch does.
fn apply(patch: &[u8], old: &Release) -> Result<Vec<u8>, String> {
    let mut patch = Patch::read(patch).map_err(|error| error.to_string())?;
    patch.check_old(&old.statement.release_id()).map_err(|error| error.to_string())?;
    let statement = patch.statement().clone();
    let mut content = Vec::new();
    let mut old = &old.content[..];
    let outcome = copy_stated(&mut patch.apply(&mut old), &mut content, &statement, 1);
    outcome.map(|()| content).map_err(|error| format!("{error:?}"))
}

fn tar(files: &[(String, Vec<u8>)], time: u64) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[136..148].copy_from_slice(format!("{time:011o}\0").as_bytes());
        block[148..156].copy_from_slice(b"        ");
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(block);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn contents_of_all_kinds_round_trip() {
    let base = noise(9_000_000, 1);
    let mut changed = base.clone();
    changed[4_000_000..4_000_100].fill(7);
    let contents = [
        base.clone(),
        changed,
        [b"in front", &base[..]].concat(),
        base[1_000_000..].to_vec(),
        [&base[5_000_000..], &base[..5_000_000]].concat(),
        noise(300_000, 2),
        vec![0; 3_000_000],
        vec![1],
        Vec::new(),
    ];
    let releases: Vec<_> = contents.into_iter().map(release).collect();
    for old in &releases {
        for new in &releases {
            let (patch, summary) = make(old, new);
            assert_eq!(summary.copied + summary.coded, new.content.len() as u64);
            assert!(apply(&patch, old).unwrap() == new.content);
        }
    }
    for new in [1, 2, 3, 4] {
        let (patch, _) = make(&releases[0], &releases[new]);
        assert!(patch.len() < 12_000, "{new}: {}", patch.len());
    }
}

#[test]
fn archive_with_other_times_needs_only_the_headers() {
    let files: Vec<_> = (0..400).map(|i| (format!("usr/lib/file-{i}"), noise(200 * i as usize + 1, i))).collect();
    let image = |time| {
        let layer = tar(&files, time);
        release(tar(&[(format!("blobs/sha256/{time}"), layer), ("manifest.json".into(), b"[]".to_vec())], 0))
    };
    let (old, new) = (image(1_700_000_000), image(1_760_000_000));
    let (patch, _) = make(&old, &new);
    assert!(apply(&patch, &old).unwrap() == new.content);
    assert!(patch.len() < 20_000, "{}", patch.len());
}

#[test]
fn elements_that_moved_a_little_are_coded_as_differences() {
    for (width, percent) in [(1_usize, 40), (2, 50), (4, 60)] {
        // A head that is not a multiple of the width.
        let mut old = b"header of a model".to_vec();
        old.extend(noise(width * 400_000, 5));
        let mut new = old.clone();
        let steps = noise(400_000, 6);
        for (element, step) in new[17..].chunks_exact_mut(width).zip(&steps) {
            let mut bytes = [0; 4];
            bytes[..width].copy_from_slice(element);
            let number = u32::from_le_bytes(bytes).wrapping_add(u32::from(step % 5)).wrapping_sub(2);
            element.copy_from_slice(&number.to_le_bytes()[..width]);
        }
        let (old, new) = (release(old), release(new));
        let (patch, _) = make(&old, &new);
        assert!(apply(&patch, &old).unwrap() == new.content, "{width}");
        assert!(patch.len() < new.content.len() * percent / 100, "{width}: {}", patch.len());
    }
}

#[test]
fn another_release_is_refused() {
    let (old, new, other) = (release(noise(1000, 1)), release(noise(1000, 2)), release(noise(1000, 3)));
    let (patch, _) = make(&old, &new);
    let patch = Patch::read(&patch[..]).unwrap();
    assert!(matches!(patch.check_old(&other.statement.release_id()), Err(Error::Mismatch { .. })));
    patch.check_old(&old.statement.release_id()).unwrap();
    assert_eq!(patch.statement().release_id(), new.statement.release_id());
}

#[test]
fn cuts_and_additions_are_refused() {
    let old = release(noise(200_000, 1));
    let new = release([&old.content[..90_000], &noise(3_000, 4), &old.content[90_000..]].concat());
    let (patch, _) = make(&old, &new);
    assert!(apply(&patch, &old).unwrap() == new.content);
    for at in 0..patch.len() {
        assert!(apply(&patch[..at], &old).is_err(), "{at}");
    }
    assert!(apply(&[&patch[..], b"x"].concat(), &old).unwrap_err().contains("Trailing"));
}

#[test]
fn changed_bytes_never_make_a_wrong_file() {
    let old = release(noise(100_000, 1));
    let new = release([&old.content[..70_000], &noise(900, 4), &old.content[70_000..]].concat());
    let (patch, _) = make(&old, &new);
    for at in 0..patch.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut lying = patch.clone();
            lying[at] ^= mask;
            // A change that has no effect on the content is harmless.
            if let Ok(content) = apply(&lying, &old) {
                let statement = Patch::read(&lying[..]).unwrap().statement().clone();
                assert!(content == new.content && statement == new.statement, "{at}");
            }
        }
    }
}

#[test]
fn errors_of_the_old_content_are_reported_as_such() {
    struct Broken(u64);
    impl OldContent for Broken {
        fn content_len(&self) -> u64 {
            self.0
        }
        fn read_at(&mut self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
    }
    let old = release(noise(200_000, 1));
    let (patch, _) = make(&old, &old);
    let mut patch = Patch::read(&patch[..]).unwrap();
    let mut broken = Broken(200_000);
    let error = patch.apply(&mut broken).read_to_end(&mut Vec::new()).unwrap_err();
    assert!(matches!(Error::from_io(error), Ok(Error::Old(_))));
}
