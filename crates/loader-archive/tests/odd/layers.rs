//! Odd layers and streams.

use super::*;

/// What a layer can be.
pub(super) fn layers() -> Vec<Case> {
    let plain = layer("good", 300);
    // The archive whose layer is stored as `stored` and has the diff_id of `plain`.
    let archive = |stored: &[u8], plain: &[u8]| {
        let config = config(&[plain]);
        let manifest = entries(&[(&config_name(&config), &[TAG], &[LAYER])]);
        [
            &file(&config_name(&config), &config)[..],
            &file(LAYER, stored),
            &file("manifest.json", manifest.as_bytes()),
            &END,
        ]
        .concat()
    };
    let zip = gzip(&plain);
    let zst = zstd::encode_all(&plain[..], 3).unwrap();
    let (head, tail) = plain.split_at(700);
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0evil";
    let mut flipped = zip.clone();
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    let wide = {
        use std::io::Write;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let damaged = Refused("malformed", &[LAYER, "gzip data"]);
    let bad_zstd = Refused("malformed", &[LAYER, "zstd data"]);
    let mut cases = vec![
        case("gzip layer", archive(&zip, &plain), GOOD),
        case("gzip layer of two members", archive(&[gzip(head), gzip(tail)].concat(), &plain), GOOD),
        case("gzip layer with an empty member", archive(&[zip.clone(), gzip(b"")].concat(), &plain), GOOD),
        case("gzip layer with bytes after it", archive(&[&zip[..], b"evil bytes after"].concat(), &plain), damaged),
        case("gzip layer with one byte after it", archive(&[&zip[..], b"x"].concat(), &plain), damaged),
        case("gzip layer with zeros after it", archive(&[&zip[..], &[0; 512]].concat(), &plain), damaged),
        case("gzip layer without its checksum", archive(&zip[..zip.len() - 8], &plain), damaged),
        case("gzip layer without its last byte", archive(&zip[..zip.len() - 1], &plain), damaged),
        case("gzip layer with a wrong checksum", archive(&flipped, &plain), damaged),
        case(
            "gzip layer of another diff_id",
            archive(&gzip(&layer("other", 9)), &plain),
            Refused("digest_mismatch", &[LAYER, "uncompressed"]),
        ),
        case(
            "gzip layer whose diff_id is that of the stored bytes",
            archive(&zip, &zip),
            Refused("digest_mismatch", &[LAYER, "uncompressed"]),
        ),
        case("gzip layer of gzip", archive(&gzip(&zip), &zip), Refused("malformed", &[LAYER, "no tar archive"])),
        case("gzip layer of a text", archive(&gzip(b"hello"), b"hello"), Refused("malformed", &[LAYER, "no layer"])),
        case("zstd layer", archive(&zst, &plain), GOOD),
        case(
            "zstd layer of two frames",
            archive(&[zstd::encode_all(head, 1).unwrap(), zstd::encode_all(tail, 1).unwrap()].concat(), &plain),
            GOOD,
        ),
        case("zstd layer after a skippable frame", archive(&[&skippable[..], &zst].concat(), &plain), GOOD),
        case("zstd layer before a skippable frame", archive(&[&zst[..], skippable].concat(), &plain), GOOD),
        case("zstd layer with bytes after it", archive(&[&zst[..], b"evil"].concat(), &plain), bad_zstd),
        case("zstd layer without its end", archive(&zst[..zst.len() - 1], &plain), bad_zstd),
        case("zstd layer with a window of 128 MiB", archive(&wide, &plain), bad_zstd),
        case("xz layer", archive(b"\xfd7zXZ\0\0rest", &plain), Refused("unsupported", &[LAYER, "xz"])),
        case("bzip2 layer", archive(b"BZh9rest", &plain), Refused("unsupported", &[LAYER, "bzip2"])),
        case("text as a layer", archive(b"hello", b"hello"), Refused("malformed", &[LAYER, "no tar archive"])),
        case("JSON as a layer", archive(b"{}", b"{}"), Refused("malformed", &[LAYER, "no tar archive"])),
        case("layer of another diff_id", archive(&layer("other", 9), &plain), Refused("digest_mismatch", &[LAYER])),
        case("empty layer", archive(b"", b""), GOOD),
        case("layer of zeros", archive(&END, &END), GOOD),
        case(
            "layer that is cut",
            archive(&plain[..700], &plain[..700]),
            Refused("malformed", &[LAYER, "ends at byte 700"]),
        ),
        case("layer without its end", archive(&plain[..1024], &plain[..1024]), GOOD),
        case(
            "layer with bytes after its end",
            {
                let long = [&plain[..], b"more"].concat();
                archive(&long, &long)
            },
            GOOD,
        ),
    ];
    // The sizes at which buffers of decompressors are full.
    for len in [64 << 10, 128 << 10, 192 << 10] {
        let mut full = layer("full", len - 2048);
        full.resize(len, 0);
        cases.push(case(
            format!("zstd layer of {len} bytes"),
            archive(&zstd::encode_all(&full[..], 3).unwrap(), &full),
            GOOD,
        ));
        cases.push(case(format!("gzip layer of {len} bytes"), archive(&gzip(&full), &full), GOOD));
    }
    // Members of layers that engines refuse to unpack.
    let inner = |raw: Vec<u8>| {
        let layer = [&raw[..], &END].concat();
        archive(&layer, &layer)
    };
    for (name, raw, right) in [
        (
            "layer with a name that leaves it",
            file("a/../../x", b"x"),
            Refused("malformed", &[LAYER, "leaves the layer"]),
        ),
        (
            "layer with a hard link that leaves it",
            link(b'1', "x", "../y"),
            Refused("malformed", &[LAYER, "leaves the layer"]),
        ),
        ("layer with a symbolic link that leaves it", link(b'2', "x", "../../y"), GOOD),
        (
            "layer with a directory with content",
            file("x/", b"x"),
            Refused("malformed", &[LAYER, "directory with content"]),
        ),
        (
            "layer with a member of a vendor",
            RawHeader::new(b"x", 0).kind(b'A').block(),
            Refused("malformed", &[LAYER, "kind of member"]),
        ),
        (
            "layer with a damaged header",
            [file("x", b"x"), vec![7; 512]].concat(),
            Refused("malformed", &[LAYER, "header at byte 1024"]),
        ),
        ("layer with a global header", [extension(b'g', &record(b"comment", b"x")), file("x", b"x")].concat(), GOOD),
        (
            "layer with a global header that is malformed",
            [extension(b'g', b"evil"), file("x", b"x")].concat(),
            Refused("malformed", &[LAYER, "PAX record"]),
        ),
        (
            "layer with extended attributes",
            [pax(&[(b"SCHILY.xattr.security.capability", b"\x01\0\0\x02")]), file("x", b"x")].concat(),
            GOOD,
        ),
        ("layer with a whiteout", file("etc/.wh.passwd", b""), GOOD),
        (
            "layer with a device",
            RawHeader::new(b"dev/null", 0).kind(b'3').set(329, b"0000001\x000000003\0").block(),
            GOOD,
        ),
        (
            "layer with two PAX headers",
            [pax(&[(b"path", b"a")]), pax(&[(b"path", b"b")]), file("x", b"x")].concat(),
            GOOD,
        ),
    ] {
        cases.push(case(name, inner(raw), right));
    }
    let pair = [gzip(head), zstd::encode_all(tail, 1).unwrap()].concat();
    cases.push(case("layer of gzip and zstd", archive(&pair, &plain), damaged));
    cases
}

/// The whole stream.
pub(super) fn streams() -> Vec<Case> {
    let good = good().archive();
    let (zip, zst) = (gzip(&good), zstd::encode_all(&good[..], 3).unwrap());
    let (head, tail) = good.split_at(1000);
    vec![
        case("gzip around everything", zip.clone(), GOOD),
        case("gzip of two members around everything", [gzip(head), gzip(tail)].concat(), GOOD),
        case(
            "gzip around everything, then another archive",
            [zip.clone(), gzip(&two_images())].concat(),
            Refused("trailing", &[]),
        ),
        case(
            "gzip around everything, then bytes",
            [&zip[..], b"evil bytes after"].concat(),
            Refused("malformed", &["gzip data"]),
        ),
        case("gzip around everything, cut", zip[..zip.len() - 9].to_vec(), Refused("truncated", &["gzip data"])),
        case("zstd around everything", zst.clone(), GOOD),
        case("zstd after a skippable frame", [&b"\x5f\x2a\x4d\x18\x01\0\0\0x"[..], &zst].concat(), GOOD),
        case(
            "zstd around everything, then bytes",
            [&zst[..], b"evil bytes after"].concat(),
            Refused("malformed", &["zstd data"]),
        ),
        case("zstd around everything, cut", zst[..zst.len() - 2].to_vec(), Refused("truncated", &["zstd data"])),
        case("gzip in gzip", gzip(&zip), Refused("unsupported", &["gzip"])),
        case("xz around everything", b"\xfd7zXZ\0\0rest".to_vec(), Refused("unsupported", &["xz"])),
        case("bzip2 around everything", b"BZh91AY&SY".to_vec(), Refused("unsupported", &["bzip2"])),
        case("no bytes", Vec::new(), Refused("no_input", &["empty"])),
        case("one byte", b"x".to_vec(), Refused("malformed", &["no tar archive"])),
        case("zeros", vec![0; 4096], Refused("malformed", &["zeros"])),
        case("HTML", b"<html><body>404".to_vec(), Refused("malformed", &["HTML"])),
        case("JSON", b"{\"error\":1}".to_vec(), Refused("malformed", &["JSON"])),
        case("zip", b"PK\x03\x04rest".to_vec(), Refused("malformed", &["zip"])),
        case("tar of something else", layer("x", 10), Refused("malformed", &["manifest.json"])),
    ]
}
