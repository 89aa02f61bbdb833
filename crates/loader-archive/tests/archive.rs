//! Archives whole, cut, flipped, packed and malformed.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its archive may panic")]

mod sample;

use loader_archive::{Archive, Error, Expected, Omit, Passed, Scanner, Unpacked, compare};
use sample::{SMALL, Tar, config, gzip, layer, sha256};

/// The verdict on `bytes` in pieces of `piece`, and what passed.
fn scan(bytes: &[u8], piece: usize, omit: Omit) -> (Result<Archive, Error>, Vec<u8>) {
    let mut scanner = Scanner::new(omit);
    let mut passed = Vec::new();
    for piece in bytes.chunks(piece) {
        let outcome = scanner.push::<Error>(piece, &mut |what| {
            if let Passed::Bytes(bytes) = what {
                passed.extend(bytes);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            return (Err(error), passed);
        }
    }
    (scanner.finish(), passed)
}

fn verdict(bytes: &[u8]) -> Result<Archive, Error> {
    scan(bytes, 4096, Omit::default()).0
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn members(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    names.collect()
}

#[test]
fn images_tags_and_layers_are_learned() {
    let archive = verdict(&SMALL.legacy()).unwrap();
    assert_eq!(archive.images.len(), 2);
    assert_eq!(archive.images[0].tags, ["app:1.4", "app:latest"]);
    assert_eq!(archive.images[1].layers[0], archive.images[0].layers[0], "through the link");
    for front in [true, false] {
        let archive = verdict(&SMALL.oci(front)).unwrap();
        assert_eq!(archive.images[0].tags, ["app:1.4"]);
        assert!(archive.images[0].manifest.is_some());
        assert_ne!(archive.images[0].layers[1].digest, archive.images[0].layers[1].diff_id);
    }
}

#[test]
fn what_passes_names_no_image_and_with_the_tail_it_is_whole() {
    for (bytes, names) in [(SMALL.legacy(), 2), (SMALL.oci(true), 3), (SMALL.oci(false), 3)] {
        for piece in [1, 7, 511, 512, 513, 100_000] {
            let (archive, passed) = scan(&bytes, piece, Omit::default());
            let archive = archive.unwrap();
            for name in ["manifest.json", "index.json", "oci-layout", "repositories"] {
                assert!(!contains(&passed, name.as_bytes()), "{name} passed");
            }
            let whole = [passed, archive.tail].concat();
            assert_eq!(members(&whole).len(), members(&bytes).len());
            let last = &members(&whole)[members(&bytes).len() - names..];
            assert!(last.contains(&"manifest.json".to_owned()));
            assert_eq!(verdict(&whole).unwrap().images, archive.images);
        }
    }
}

#[test]
fn a_cut_anywhere_is_seen() {
    for bytes in [SMALL.legacy(), SMALL.oci(true), SMALL.oci(false)] {
        let end = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let end = end.next_multiple_of(512) + 1024;
        assert!(verdict(&bytes[..end]).is_ok());
        for cut in 0..end {
            assert!(verdict(&bytes[..cut]).is_err(), "cut at {cut} of {end}");
        }
    }
}

#[test]
fn a_flip_anywhere_is_seen_or_changes_nothing() {
    for bytes in [SMALL.legacy(), SMALL.oci(true), SMALL.oci(false)] {
        let images = verdict(&bytes).unwrap().images;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(archive) = verdict(&flipped) {
                assert_eq!(archive.images, images, "flip at {at}");
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_refused_unless_it_is_padding() {
    let mut bytes = SMALL.legacy();
    bytes.extend([0; 20_000]);
    assert!(verdict(&bytes).is_ok());
    bytes.push(1);
    assert!(matches!(verdict(&bytes), Err(Error::Trailing { .. })));
    assert!(matches!(verdict(&[SMALL.legacy(), SMALL.legacy()].concat()), Err(Error::Trailing { .. })));
}

#[test]
fn what_is_no_archive_is_named() {
    assert!(matches!(verdict(b""), Err(Error::Empty)));
    assert!(matches!(verdict(&[0; 4096]), Err(Error::NotArchive { .. })));
    assert!(matches!(verdict(b"<html>"), Err(Error::NotArchive { looks_like: "it looks like HTML or XML" })));
    assert!(matches!(verdict(&layer("x", 100)), Err(Error::NotArchive { .. })));
    let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(matches!(verdict(&noise), Err(Error::NotArchive { .. })));
}

#[test]
fn a_missing_layer_or_config_is_named() {
    let base = layer("base", 100);
    let config = config(&[&base]);
    let manifest =
        format!(r#"[{{"Config":"{}.json","RepoTags":["app:1"],"Layers":["a/layer.tar"]}}]"#, sha256(&config));
    let mut without_layer = Tar::new();
    without_layer.file(&format!("{}.json", sha256(&config)), &config).file("manifest.json", manifest.as_bytes());
    assert!(matches!(verdict(&without_layer.end()), Err(Error::Missing { what, .. }) if what == "a/layer.tar"));
    let mut without_config = Tar::new();
    without_config.file("a/layer.tar", &base).file("manifest.json", manifest.as_bytes());
    assert!(matches!(verdict(&without_config.end()), Err(Error::Missing { .. })));
}

#[test]
fn the_commit_cannot_be_smuggled_past() {
    let mut through_link = Tar::new();
    through_link.link("x", ".").file("x/manifest.json", b"[]");
    assert!(matches!(verdict(&through_link.end()), Err(Error::Unsupported(_))));
    let mut as_link = Tar::new();
    as_link.file("other", b"[]").link("manifest.json", "other");
    assert!(matches!(verdict(&as_link.end()), Err(Error::Malformed { .. })));
    let mut twice = Tar::new();
    twice.file("manifest.json", b"[]").file("./manifest.json", b"[]");
    assert!(matches!(verdict(&twice.end()), Err(Error::Malformed { .. })));
    let mut large = Tar::new();
    large.file("manifest.json", &vec![b' '; 3 << 20]);
    assert!(matches!(verdict(&large.end()), Err(Error::Unsupported(_))));
}

/// A tar whose first member has `change` made to its header block.
fn with_header(name: &str, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = Tar::new();
    bytes.file(name, b"x");
    let mut bytes = bytes.end();
    change(&mut bytes[..512]);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn headers_that_readers_take_in_different_ways_are_refused() {
    let refused = |change: fn(&mut [u8])| {
        let bytes = [layer("first", 10)[..1024].to_vec(), with_header("y", change)].concat();
        matches!(verdict(&bytes), Err(Error::Header { at: 1024, .. }))
    };
    assert!(!refused(|_| {}));
    assert!(!refused(|header| header[345..350].copy_from_slice(b"a/b/c")));
    // star's own format, and a prefix that GNU tar does not have.
    assert!(refused(|header| header[508..].copy_from_slice(b"tar\0")));
    assert!(refused(|header| {
        header[257..265].copy_from_slice(b"ustar  \0");
        header[345..358].copy_from_slice(b"blobs/sha256x");
    }));
    assert!(!refused(|header| {
        header[257..265].copy_from_slice(b"ustar  \0");
        header[345..357].copy_from_slice(b"14700000000\0");
    }));
    assert!(!refused(|header| header[257..265].fill(0)));
    // A prefix without the magic that says there is one, and a magic of nobody.
    assert!(refused(|header| {
        header[257..265].fill(0);
        header[345] = b'a';
    }));
    assert!(refused(|header| header[257..265].copy_from_slice(b"ustar 00")));
    assert!(refused(|header| {
        header[124] = 0x80;
        header[125..136].fill(0xff);
    }));
    assert!(refused(|header| {
        header[124] = 0x80;
        header[125..136].fill(0);
        header[128] = 0x80;
    }));
}

#[test]
fn a_file_that_is_a_folder_to_other_readers_is_refused() {
    // Its content would be the next header to them, and what it holds an archive of its own.
    for kind in [0, b'0', b'7'] {
        let folder = with_header("x/", |header| header[156] = kind);
        let bytes = [layer("first", 10)[..1024].to_vec(), folder.clone(), SMALL.legacy()].concat();
        assert!(matches!(verdict(&bytes), Err(Error::Header { at: 1024, why }) if why.contains("slash")), "{kind}");
        assert!(matches!(verdict(&folder), Err(Error::NotArchive { .. })), "{kind}");
    }
    // By its long name too.
    let mut bytes = with_header("x", |header| {
        header[156] = b'x';
        header[124..136].copy_from_slice(b"00000000014\0");
    })[..1024]
        .to_vec();
    bytes[512..524].copy_from_slice(b"12 path=ab/\n");
    bytes.extend(SMALL.legacy());
    assert!(matches!(verdict(&bytes), Err(Error::Header { at: 1024, why }) if why.contains("slash")));
}

#[test]
fn a_name_that_looks_like_a_packing_is_refused() {
    // A skippable frame of zstd, or bzip2, to an engine that looks at the first bytes.
    for (name, packing) in [("P*M\u{18}x", "zstd"), ("_*M\u{18}x", "zstd"), ("BZh0", "bzip2")] {
        let mut first = Tar::new();
        first.file(name, b"x");
        let first = first.end();
        assert!(matches!(verdict(&first), Err(Error::Packed { coding }) if coding == packing), "{name}");
        let second = [layer("first", 10)[..1024].to_vec(), first].concat();
        assert!(matches!(verdict(&second), Err(Error::Header { at: 1024, .. })), "{name}");
    }
}

#[test]
fn names_and_records_have_a_budget() {
    let extension = |kind: u8, len: usize| {
        with_header("x", |header| {
            header[156] = kind;
            header[124..136].copy_from_slice(format!("{len:011o}\0").as_bytes());
        })
    };
    let too_long = |bytes: &[u8]| matches!(verdict(bytes), Err(Error::Header { why, .. }) if why.contains("64 KiB"));
    for kind in [b'L', b'K', b'x', b'g'] {
        assert!(too_long(&extension(kind, 64 * 1024)), "{}", char::from(kind));
        assert!(too_long(&extension(kind, 0o77_777_777_777)), "{}", char::from(kind));
    }
    let mut many = extension(b'g', 13)[..1024].to_vec();
    many[512..525].copy_from_slice(b"13 mtime=123\n");
    assert!(matches!(verdict(&many.repeat(10)), Err(Error::Truncated { .. })));
    assert!(too_long(&many.repeat(100)));
}

#[test]
fn a_folder_is_not_replaced_by_a_link() {
    let mut tar = Tar::new();
    tar.file("blobs/sha256/x", b"x").link("blobs", "other");
    assert!(matches!(verdict(&tar.end()), Err(Error::Malformed { .. })));
    let mut beside = Tar::new();
    beside.file("blobs/sha256/x", b"x").link("blob", "other");
    assert!(matches!(verdict(&beside.end()), Err(Error::NotArchive { .. })));
}

#[test]
fn names_that_only_some_readers_see_are_refused() {
    let spoil = |bytes: &[u8], from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let text = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = bytes.to_vec();
        bytes[text..text + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let hidden =
        spoil(&SMALL.legacy(), r#""RepoTags":["app:1.4","app:latest"]"#, r#""RepoTags":[],"repotags":["app:10"]"#);
    assert!(matches!(verdict(&hidden), Err(Error::Malformed { member, .. }) if member == "manifest.json"));
    let hidden = spoil(&SMALL.oci(false), r#""digest":"sha256:"#, r#""Digest":"sha256:"#);
    assert!(matches!(verdict(&hidden), Err(Error::Digest { .. })), "a blob is covered by its digest");
    let hidden = spoil(&SMALL.oci(false), r#""manifests":"#, r#""Manifests":"#);
    assert!(matches!(verdict(&hidden), Err(Error::Malformed { member, .. }) if member == "index.json"));
}

#[test]
fn long_names_are_held_back_with_their_member() {
    let base = layer("base", 100);
    let config = config(&[&base]);
    let long = format!("{}/layer.tar", "d".repeat(300));
    let manifest = format!(r#"[{{"Config":"{}.json","RepoTags":["app:1"],"Layers":["{long}"]}}]"#, sha256(&config));
    let mut tar = Tar::new();
    tar.file(&format!("{}.json", sha256(&config)), &config)
        .file(&long, &base)
        .file("manifest.json", manifest.as_bytes());
    assert_eq!(verdict(&tar.end()).unwrap().images[0].tags, ["app:1"]);
}

#[test]
fn packed_layers_are_looked_into_where_the_name_promises_nothing() {
    let base = layer("base", 100);
    let config = config(&[&base]);
    let manifest =
        format!(r#"[{{"Config":"{}.json","RepoTags":["app:1"],"Layers":["a/layer.tar"]}}]"#, sha256(&config));
    let with = |layer: &[u8]| {
        let mut tar = Tar::new();
        tar.file(&format!("{}.json", sha256(&config)), &config).file("a/layer.tar", layer);
        tar.file("manifest.json", manifest.as_bytes());
        verdict(&tar.end())
    };
    let packed = gzip(&base);
    assert!(with(&packed).is_ok());
    assert!(with(&packed[..packed.len() - 8]).is_err(), "without its checksum");
    assert!(matches!(with(&gzip(&layer("other", 100))), Err(Error::Digest { .. })));
    assert!(matches!(with(b"\x28\xb5\x2f\xfd zstd"), Err(Error::Unsupported(_))));
}

#[test]
fn gzip_around_everything_is_unpacked_and_checked() {
    let read = |bytes: &[u8]| {
        let mut input = Unpacked::new(bytes)?;
        let (mut out, mut buffer) = (Vec::<u8>::new(), [0; 1000]);
        loop {
            match input.read(&mut buffer)? {
                0 => return Ok::<_, Error>(out),
                read => out.extend(&buffer[..read]),
            }
        }
    };
    let packed = gzip(&SMALL.legacy());
    assert_eq!(read(&packed).unwrap(), SMALL.legacy());
    assert_eq!(read(&SMALL.legacy()).unwrap(), SMALL.legacy());
    for cut in 1..9 {
        assert!(read(&packed[..packed.len() - cut]).is_err(), "{cut} bytes off");
    }
    assert!(read(&[&packed[..], b"x"].concat()).is_err());
    assert!(matches!(read(b"\xfd7zXZ\0\0"), Err(Error::Packed { coding: "xz" })));
    assert!(matches!(read(b""), Err(Error::Empty)));
}

#[test]
fn what_was_sealed_is_compared() {
    let images = verdict(&SMALL.legacy()).unwrap().images;
    let json = serde_json::to_vec(&images).unwrap();
    let expected = Expected::from_json(&json).unwrap();
    assert!(compare(&images, &expected.images, false).is_ok());
    let mut other = expected.images.clone();
    other[0].tags[0] = "app:1.5".to_owned();
    assert!(matches!(compare(&images, &other, false), Err(Error::Unexpected(_))));
    assert!(compare(&images[..1], &expected.images, false).is_err());
    assert!(compare(&images, &expected.images[..1], false).is_err());
    other[0].tags = vec![format!("localhost/{}", expected.images[0].tags[0])];
    other[0].tags.extend_from_slice(&expected.images[0].tags[1..]);
    assert!(matches!(compare(&images, &other, false), Err(Error::Unexpected(_))));
    assert!(compare(&images, &other, true).is_ok());
    let inspected = format!(r#"{{"verified":true,"images":{}}}"#, String::from_utf8(json).unwrap());
    assert_eq!(Expected::from_json(inspected.as_bytes()).unwrap().images, images);
    assert!(Expected::from_json(b"{}").is_err());
}

#[test]
fn layers_that_are_there_are_left_out() {
    for bytes in [SMALL.legacy(), SMALL.oci(true)] {
        let images = verdict(&bytes).unwrap().images;
        let base = images[0].layers[0].diff_id.clone().unwrap();
        let omit = Omit::new(&images, |chain| chain == [base.as_str()]);
        let (archive, passed) = scan(&bytes, 1000, omit);
        let archive = archive.unwrap();
        assert_eq!(archive.omitted, 1);
        assert!(archive.omitted_len > 2000);
        assert!(passed.len() + archive.tail.len() + 2000 < bytes.len());
        assert!(compare(&archive.images, &images, false).is_ok());
        let whole = [passed, archive.tail].concat();
        let again = Omit::new(&images, |chain| chain == [base.as_str()]);
        assert!(scan(&whole, 1000, again).0.is_ok(), "layers that are there may be absent");
        assert!(matches!(verdict(&whole), Err(Error::Missing { .. })), "others may not");
    }
}

#[test]
fn a_layer_that_only_has_the_size_of_one_that_is_there_is_refused() {
    let images = verdict(&SMALL.legacy()).unwrap().images;
    let mut claimed = images.clone();
    let other = format!("sha256:{}", "0".repeat(64));
    claimed[0].layers[0].diff_id = Some(other.clone());
    claimed[0].layers[0].digest = None;
    claimed[1].layers.clear();
    let omit = Omit::new(&claimed, |chain| chain == [other.as_str()]);
    assert!(matches!(scan(&SMALL.legacy(), 1000, omit).0, Err(Error::Unexpected(_))));
}
