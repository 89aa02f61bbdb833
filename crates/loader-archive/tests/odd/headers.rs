//! Odd headers and extensions.

use super::*;

type Change = fn(RawHeader) -> RawHeader;

/// Every field of a header.
pub(super) fn headers() -> Vec<Case> {
    let good = good();
    let missing = Refused("malformed", &[TAG, LAYER, "not in the archive"]);
    let corrupt: fn(&'static [&'static str]) -> Right = |words| Refused("corrupt", words);
    let changes: Vec<(&str, Change, Right)> = vec![
        ("name with ./", |h| h.set(0, b"./a/layer.tar"), GOOD),
        ("name with a leading slash", |h| h.set(0, b"/a/layer.tar"), GOOD),
        ("name with two slashes", |h| h.set(0, b"a//layer.tar"), GOOD),
        ("name with a trailing slash", |h| h.set(0, b"a/layer.tar/"), missing),
        ("name with ..", |h| h.set(0, b"x/../a/layer.tar"), missing),
        ("name in upper case", |h| h.set(0, b"A/LAYER.TAR"), missing),
        ("name with bytes after its NUL", |h| h.set(11, b"\0evil"), GOOD),
        ("empty name", |h| h.set(0, &[0; 100]), missing),
        ("name that is no UTF-8", |h| h.set(0, b"\xff\xfe"), missing),
        ("mode that is no number", |h| h.set(100, b"0000o44\0"), corrupt(&["mode"])),
        ("empty mode", |h| h.set(100, &[0; 8]), GOOD),
        ("mode with all bits", |h| h.set(100, b"7777777\0"), GOOD),
        ("uid with a plus", |h| h.set(108, b"+000000\0"), corrupt(&["user id"])),
        ("uid in base 256", |h| h.set(108, &[0x80, 0, 0, 0, 0, 0x20, 0, 0]), GOOD),
        ("uid without a NUL", |h| h.set(108, b"00000001"), GOOD),
        ("gid that is no number", |h| h.set(116, b"-000001\0"), corrupt(&["group id"])),
        ("gid in base 256 with more than 63 bits", |h| h.set(116, &[0x80, 0xff, 0, 0, 0, 0, 0, 0]), GOOD),
        ("size in base 256", |h| h.set(124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]), GOOD),
        ("size with spaces", |h| h.set(124, b"      4000 \0"), GOOD),
        ("size with a plus", |h| h.set(124, b"+0000004000\0"), corrupt(&["size"])),
        ("size with a minus", |h| h.set(124, b"-0000004000\0"), corrupt(&["size"])),
        ("size with 0o", |h| h.set(124, b"0o000004000\0"), corrupt(&["size"])),
        ("negative size", |h| h.set(124, &[0xff; 12]), corrupt(&["size"])),
        ("size of more than 63 bits", |h| h.set(124, &[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]), corrupt(&["size"])),
        (
            "size of exabytes",
            |h| h.set(124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Refused("truncated", &[LAYER]),
        ),
        ("size with a digit after a NUL", |h| h.set(124, b"4000\x007777777"), GOOD),
        ("size that is larger by a block", |h| h.set(124, b"00000005000\0"), corrupt(&[])),
        ("empty size", |h| h.set(124, &[0; 12]), Refused("trailing", &[])),
        ("time before 1970", |h| h.set(136, &[0xff; 12]), GOOD),
        ("time that is no number", |h| h.set(136, b"now\0"), corrupt(&["time"])),
        ("type NUL", |h| h.kind(0), GOOD),
        ("type 7", |h| h.kind(b'7'), GOOD),
        ("type of a directory with content", |h| h.kind(b'5'), Refused("trailing", &[])),
        ("type of a hard link with content", |h| h.kind(b'1').set(157, b"x"), Refused("trailing", &[])),
        ("type of a device with content", |h| h.kind(b'3'), Refused("trailing", &[])),
        ("type of a fifo with content", |h| h.kind(b'6'), Refused("trailing", &[])),
        ("type of a vendor", |h| h.kind(b'A'), missing),
        ("type of GNU's directory dump", |h| h.kind(b'D'), missing),
        (
            "type of an old sparse file",
            |h| h.kind(b'S').set(257, b"ustar  \0"),
            Refused("unsupported", &[LAYER, "sparse"]),
        ),
        ("link name of a file", |h| h.set(157, b"manifest.json"), GOOD),
        ("magic of nobody", |h| h.set(257, b"ustar 00"), GOOD),
        ("no magic", |h| h.set(257, &[0; 8]), GOOD),
        ("magic of GNU", |h| h.set(257, b"ustar  \0"), GOOD),
        ("version of nobody", |h| h.set(263, b"99"), GOOD),
        ("owner that is no UTF-8", |h| h.set(265, &[0xff; 64]), GOOD),
        ("device number that is none", |h| h.set(329, b"x\0"), corrupt(&["device"])),
        ("device number that is none, without a magic", |h| h.set(257, &[0; 8]).set(329, b"x\0"), GOOD),
        ("minor device number that is none", |h| h.set(337, b"x\0"), corrupt(&["device"])),
        ("prefix", |h| h.set(0, b"layer.tar\0\0").set(345, b"a"), GOOD),
        ("prefix with a slash", |h| h.set(0, b"layer.tar\0\0").set(345, b"/a/"), GOOD),
        ("prefix before a whole name", |h| h.set(345, b"b"), missing),
        ("prefix without its magic", |h| h.set(257, &[0; 8]).set(345, b"b"), GOOD),
        ("prefix of GNU", |h| h.set(257, b"ustar  \0").set(345, b"14700000000\0"), GOOD),
        ("prefix of star", |h| h.set(0, b"layer.tar\0\0").set(345, b"a").set(508, b"tar\0"), GOOD),
        ("times of star", |h| h.set(476, b"14700000000\x0014700000000\0").set(508, b"tar\0"), GOOD),
        ("bytes after the last field", |h| h.set(500, b"evil"), GOOD),
    ];
    let mut cases: Vec<Case> =
        changes.into_iter().map(|(name, change, right)| case(name, good.with_header(change), right)).collect();
    let header = RawHeader::new(LAYER.as_bytes(), good.layer.len());
    let with_block = |block: Vec<u8>| good.with_layer(&[block, padded(&good.layer)].concat());
    let sum = |field: &[u8]| with_block(header.clone().set(148, field).0.to_vec());
    cases.push(case("checksum that does not match", sum(b"000001\0 "), Refused("corrupt", &["checksum"])));
    cases.push(case("checksum that is no number", sum(b"xxxxxx\0 "), Refused("corrupt", &["checksum"])));
    cases.push(case("no checksum", sum(&[0; 8]), Refused("corrupt", &["checksum"])));
    cases.push(case("checksum of signed bytes", with_block(header.clone().set(265, &[0xff; 8]).signed()), GOOD));
    let mut padding = member(&RawHeader::new(b"x", 1), b"x");
    padding[600..].fill(7);
    cases.push(case("padding that is not zero", good.and(&padding), GOOD));
    cases
}

/// Every extension.
pub(super) fn extensions() -> Vec<Case> {
    let good = good();
    let evil = evil_manifest(&good);
    let missing = Refused("malformed", &[TAG, LAYER, "not in the archive"]);
    let twice = Refused("malformed", &["manifest.json", "twice"]);
    let two_names = Refused("corrupt", &["two names"]);
    let size = good.layer.len().to_string();
    let plain = file(LAYER, &good.layer);
    let (own, other, manifest) = (LAYER.as_bytes(), &b"other"[..], &b"manifest.json"[..]);
    let before = |extension: Vec<u8>| good.with_layer(&[extension, plain.clone()].concat());
    let mut cases = Vec::new();
    for (key, value, right) in [
        ("path", own, GOOD),
        ("path", b"./a//layer.tar", GOOD),
        ("path", other, missing),
        ("path", b"a/layer.tar/", missing),
        ("path", b"../a/layer.tar", missing),
        ("path", b"", Refused("corrupt", &["empty name"])),
        ("path", b"a\0b", Refused("corrupt", &["zero"])),
        ("linkpath", manifest, GOOD),
        ("linkpath", b"", Refused("corrupt", &["empty name"])),
        ("size", size.as_bytes(), GOOD),
        ("size", b"0", Refused("trailing", &[])),
        ("size", b"+2048", Refused("corrupt", &["PAX record"])),
        ("size", b" 2048", Refused("corrupt", &["PAX record"])),
        ("size", b"-1", Refused("corrupt", &["PAX record"])),
        ("size", b"0x800", Refused("corrupt", &["PAX record"])),
        ("size", b"99999999999999999999", Refused("corrupt", &["PAX record"])),
        ("size", b"18446744073709551615", Refused("corrupt", &["size"])),
        ("GNU.sparse.major", b"1", Refused("unsupported", &[LAYER, "sparse"])),
        ("GNU.sparse.map", b"0,1", Refused("unsupported", &[LAYER, "sparse"])),
        ("GNU.sparse.name", own, Refused("unsupported", &[LAYER, "sparse"])),
        ("SCHILY.xattr.user.x", b"\0\xff", GOOD),
        ("SCHILY.realsize", b"1", GOOD),
        ("hdrcharset", b"BINARY", GOOD),
        ("uid", b"99999999999", GOOD),
        ("uid", b"nobody", GOOD),
        ("mtime", b"-1.5", GOOD),
        ("comment", b"x\n13 path=evil\n", GOOD),
    ] {
        let name = format!("PAX {key} {}", value.escape_ascii());
        cases.push(case(name, before(pax(&[(key.as_bytes(), value)])), right));
    }
    let global = |key: &[u8], value: &[u8]| extension(b'g', &record(key, value));
    for (name, extension, right) in [
        ("global comment", global(b"comment", b"0123"), GOOD),
        ("global path", global(b"path", other), Refused("corrupt", &["global"])),
        ("global linkpath", global(b"linkpath", other), Refused("corrupt", &["global"])),
        ("global size", global(b"size", b"0"), Refused("corrupt", &["global"])),
        ("PAX header of Solaris", extension(b'X', &record(b"path", manifest)), GOOD),
        ("two PAX headers that agree", [pax(&[(b"path", own)]), pax(&[(b"path", own)])].concat(), GOOD),
        ("two PAX headers that disagree", [pax(&[(b"path", other)]), pax(&[(b"path", own)])].concat(), two_names),
        ("two paths in a PAX header", pax(&[(b"path", other), (b"path", own)]), two_names),
        (
            "two sizes in a PAX header",
            pax(&[(b"size", b"0"), (b"size", size.as_bytes())]),
            Refused("corrupt", &["two sizes"]),
        ),
        (
            "two PAX headers with a size",
            [pax(&[(b"size", b"0")]), pax(&[(b"size", b"0")])].concat(),
            Refused("corrupt", &["two sizes"]),
        ),
        ("PAX header and then another with a path", [pax(&[(b"uid", b"1")]), pax(&[(b"path", own)])].concat(), GOOD),
        ("PAX record that is too long", extension(b'x', b"99 path=a\n"), Refused("corrupt", &["PAX record"])),
        ("PAX record without a length", extension(b'x', b"path=a\n"), Refused("corrupt", &["PAX record"])),
        ("PAX record with a plus", extension(b'x', b"+10 path=a\n"), Refused("corrupt", &["PAX record"])),
        ("PAX record of length 0", extension(b'x', b"0 path=a\n"), Refused("corrupt", &["PAX record"])),
        ("PAX record without its end", extension(b'x', b"9 path=a "), Refused("corrupt", &["PAX record"])),
        ("empty PAX header", extension(b'x', b""), Refused("corrupt", &["empty extension"])),
        (
            "PAX header of more than 1 MiB",
            extension(b'x', &record(b"comment", &[b'x'; 1 << 20])),
            Refused("corrupt", &["1 MiB"]),
        ),
        ("GNU long name", extension(b'L', b"a/layer.tar\0"), GOOD),
        ("GNU long name without a NUL", extension(b'L', own), GOOD),
        ("GNU long name with bytes after its NUL", extension(b'L', b"a/layer.tar\0evil"), GOOD),
        ("GNU long name of another file", extension(b'L', b"other\0"), missing),
        ("empty GNU long name", extension(b'L', b""), Refused("corrupt", &["empty extension"])),
        ("GNU long name of one NUL", extension(b'L', b"\0"), Refused("corrupt", &["empty name"])),
        ("two GNU long names", [extension(b'L', b"other\0"), extension(b'L', own)].concat(), two_names),
        (
            "GNU long name and another PAX path",
            [extension(b'L', b"other\0"), pax(&[(b"path", own)])].concat(),
            two_names,
        ),
        ("PAX path and another GNU long name", [pax(&[(b"path", other)]), extension(b'L', own)].concat(), two_names),
        ("GNU long name and the same PAX path", [extension(b'L', own), pax(&[(b"path", own)])].concat(), GOOD),
        ("GNU long link of a file", extension(b'K', manifest), GOOD),
        ("GNU name of unknown type", extension(b'N', b"other\0"), GOOD),
    ] {
        cases.push(case(name, before(extension), right));
    }
    // What hides another manifest.json from one of two readers.
    for (name, extension, right) in [
        ("path of a second manifest.json", pax(&[(b"path", manifest)]), twice),
        ("GNU name of a second manifest.json", extension(b'L', b"manifest.json\0"), twice),
        ("two PAX headers, manifest.json first", [pax(&[(b"path", manifest)]), pax(&[(b"uid", b"1")])].concat(), twice),
        ("path with a NUL", pax(&[(b"path", b"manifest.json\0x")]), Refused("corrupt", &["zero"])),
        ("global path of a second manifest.json", global(b"path", manifest), Refused("corrupt", &["global"])),
        (
            "sparse name of a second manifest.json",
            pax(&[(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", manifest)]),
            twice,
        ),
    ] {
        cases.push(case(name, good.and(&[extension, file("zz", &evil)].concat()), right));
    }
    let hidden = [&pax(&[(b"size", b"0")])[..], &file("zz", &good.and(&file("manifest.json", &evil)))].concat();
    cases.push(case(
        "archive in a file of no size",
        good.and(&hidden),
        Refused("malformed", &["manifest.json", "twice"]),
    ));
    cases.push(case("extension without a member", good.and(&pax(&[(b"path", own)])), Refused("corrupt", &[])));
    let far = member(
        &RawHeader::new(LAYER.as_bytes(), good.layer.len()).set(257, b"ustar  \0").kind(b'S').set(482, b"\x01"),
        &[],
    );
    let map = [far, vec![0; 512], padded(&good.layer)].concat();
    cases.push(case(
        "sparse file with a longer map",
        good.with_layer(&map),
        Refused("unsupported", &[LAYER, "sparse"]),
    ));
    cases
}
