//! Archives that some reader, once, understood in another way than the next one, or
//! that a tool writes in a way of its own; and what is right for each.

use crate::sample::{Tar, config, gzip, layer, sha256};

/// Names of the good image in all of them.
pub(crate) const TAG: &str = "sec/good:1";

/// What is right for an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right {
    /// These tags, of one or more images; nothing else is written.
    Loaded(&'static [&'static str]),
    /// This code, and a message that contains these words.
    Refused(&'static str, &'static [&'static str]),
}

use Right::{Loaded, Refused};

const GOOD: Right = Loaded(&[TAG]);

/// An archive, what is odd about it, and what is right for it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) right: Right,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let all = [headers(), extensions(), members(), layers(), streams(), field(), names()];
    all.into_iter().flatten().collect()
}

fn case(name: impl Into<String>, bytes: Vec<u8>, right: Right) -> Case {
    Case { name: name.into(), bytes, right }
}

pub(crate) const END: [u8; 1024] = [0; 1024];

/// A header block under construction. Its checksum is made at the end.
#[derive(Clone)]
pub(crate) struct RawHeader([u8; 512]);

impl RawHeader {
    pub(crate) fn new(name: &[u8], size: usize) -> Self {
        Self([0; 512])
            .set(0, &name[..name.len().min(100)])
            .set(100, b"0000644\0")
            .set(108, b"0000000\0")
            .set(116, b"0000000\0")
            .set(124, format!("{size:011o}\0").as_bytes())
            .set(136, b"00000000000\0")
            .set(156, b"0")
            .set(257, b"ustar\x0000")
    }

    pub(crate) fn set(mut self, at: usize, field: &[u8]) -> Self {
        self.0[at..at + field.len()].copy_from_slice(field);
        self
    }

    pub(crate) fn kind(self, kind: u8) -> Self {
        self.set(156, &[kind])
    }

    fn checksum(&self, value: impl Fn(u8) -> i64) -> i64 {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| value(*byte)).sum::<i64>();
        sum(&self.0[..148]) + 8 * 32 + sum(&self.0[156..])
    }

    /// With the sum of the bytes as signed numbers, as some old programs write it.
    fn signed(&self) -> Vec<u8> {
        let sum = self.checksum(|byte| i64::from(byte as i8));
        self.clone().set(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
    }

    pub(crate) fn block(&self) -> Vec<u8> {
        let sum = self.checksum(i64::from);
        self.clone().set(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
    }
}

pub(crate) fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.resize(content.len().next_multiple_of(512), 0);
    padded
}

pub(crate) fn member(header: &RawHeader, content: &[u8]) -> Vec<u8> {
    [header.block(), padded(content)].concat()
}

pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(&RawHeader::new(name.as_bytes(), content.len()), content)
}

pub(crate) fn link(kind: u8, name: &str, target: &str) -> Vec<u8> {
    RawHeader::new(name.as_bytes(), 0).kind(kind).set(157, target.as_bytes()).block()
}

pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut len = rest.len() + 1;
    while len.to_string().len() + rest.len() != len {
        len = len.to_string().len() + rest.len();
    }
    [len.to_string().as_bytes(), &rest].concat()
}

pub(crate) fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
    member(&RawHeader::new(b"PaxHeaders/x", content.len()).kind(kind), content)
}

pub(crate) fn pax(records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    extension(b'x', &records)
}

/// The parts of the good image. Its layer is member `a/layer.tar`.
pub(crate) struct Good {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) manifest: String,
}

pub(crate) const LAYER: &str = "a/layer.tar";

pub(crate) fn good() -> Good {
    let layer = layer("good", 300);
    let config = config(&[&layer]);
    let manifest = entries(&[(&config_name(&config), &[TAG], &[LAYER])]);
    Good { config, layer, manifest }
}

fn config_name(config: &[u8]) -> String {
    format!("{}.json", sha256(config))
}

/// Text of a `manifest.json`.
pub(crate) fn entries(images: &[(&str, &[&str], &[&str])]) -> String {
    let list = |texts: &[&str]| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",");
    let entry = |(config, tags, layers): &(&str, &[&str], &[&str])| {
        format!(r#"{{"Config":"{config}","RepoTags":[{}],"Layers":[{}]}}"#, list(tags), list(layers))
    };
    format!("[{}]", images.iter().map(entry).collect::<Vec<_>>().join(","))
}

impl Good {
    /// The members of the archive.
    pub(crate) fn members(&self) -> [Vec<u8>; 3] {
        [
            file(&config_name(&self.config), &self.config),
            file(LAYER, &self.layer),
            file("manifest.json", self.manifest.as_bytes()),
        ]
    }

    /// The archive.
    pub(crate) fn archive(&self) -> Vec<u8> {
        [&self.members().concat()[..], &END].concat()
    }

    /// The archive with other bytes in place of its layer.
    fn with_layer(&self, layer: &[u8]) -> Vec<u8> {
        let [config, _, manifest] = self.members();
        [&config[..], layer, &manifest, &END].concat()
    }

    /// The archive with another header of the layer.
    fn with_header(&self, change: impl Fn(RawHeader) -> RawHeader) -> Vec<u8> {
        self.with_layer(&member(&change(RawHeader::new(LAYER.as_bytes(), self.layer.len())), &self.layer))
    }

    /// The archive with members before its end.
    pub(crate) fn and(&self, more: &[u8]) -> Vec<u8> {
        [&self.members().concat()[..], more, &END].concat()
    }
}

/// A manifest of another image, which a second parser might find.
pub(crate) fn evil_manifest(good: &Good) -> Vec<u8> {
    entries(&[(&config_name(&good.config), &["evil/app:latest"], &[LAYER])]).into_bytes()
}

type Change = fn(RawHeader) -> RawHeader;

/// Every field of a header.
fn headers() -> Vec<Case> {
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
fn extensions() -> Vec<Case> {
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

/// Members that stand for each other, and ends.
fn members() -> Vec<Case> {
    let good = good();
    let evil = evil_manifest(&good);
    let twice = Refused("malformed", &["manifest.json", "twice"]);
    let no_file = Refused("malformed", &["manifest.json", "no file"]);
    let [config, layer, manifest] = good.members();
    let two = two_images();
    let mut cases = vec![
        case("nothing odd", good.archive(), GOOD),
        case("two images", two.clone(), Loaded(&[TAG, "sec/good2:1"])),
        case("manifest.json first", [&manifest[..], &config, &layer, &END].concat(), GOOD),
        case("manifest.json twice, the same", good.and(&manifest), GOOD),
        case("manifest.json twice", good.and(&file("manifest.json", &evil)), twice),
        case("manifest.json and ./manifest.json", good.and(&file("./manifest.json", &evil)), twice),
        case("manifest.json and .//manifest.json", good.and(&file(".//manifest.json", &evil)), twice),
        case("manifest.json and /manifest.json", good.and(&file("/manifest.json", &evil)), twice),
        case("manifest.json and x/../manifest.json", good.and(&file("x/../manifest.json", &evil)), GOOD),
        case("manifest.json and MANIFEST.JSON", good.and(&file("MANIFEST.JSON", &evil)), GOOD),
        case("manifest.json and manifest.json/", good.and(&file("manifest.json/", &evil)), GOOD),
        case(
            "manifest.json as a hard link",
            good.and(&[file("real.json", &evil), link(b'1', "manifest.json", "real.json")].concat()),
            no_file,
        ),
        case(
            "manifest.json as a symbolic link",
            good.and(&[file("real.json", &evil), link(b'2', "manifest.json", "real.json")].concat()),
            no_file,
        ),
        case(
            "manifest.json as a directory",
            good.and(&RawHeader::new(b"manifest.json", 0).kind(b'5').block()),
            no_file,
        ),
        case("manifest.json as a fifo", good.and(&RawHeader::new(b"manifest.json", 0).kind(b'6').block()), no_file),
        case(
            "manifest.json through a symbolic link to .",
            good.and(&[link(b'2', "d", "."), file("d/manifest.json", &evil)].concat()),
            GOOD,
        ),
        case(
            "directory with a size and content",
            good.and(&[RawHeader::new(b"d", 1024).kind(b'5').block(), file("manifest.json", &evil)].concat()),
            twice,
        ),
        case(
            "directory by its slash with content",
            good.and(&member(
                &RawHeader::new(b"d/", 1024).set(257, &[0; 8]).kind(0),
                &padded(&file("manifest.json", &evil))[..1024],
            )),
            GOOD,
        ),
        case(
            "sparse manifest.json",
            good.and(&member(&RawHeader::new(b"manifest.json", 5).set(257, b"ustar  \0").kind(b'S'), b"hello")),
            twice,
        ),
        case(
            "config with other content than its name",
            good.and(&file(&format!("{}.json", "0".repeat(64)), b"{}")),
            Refused("digest_mismatch", &["0000.json", "SHA-256"]),
        ),
        case(
            "blob with other content than its name",
            good.and(&file(&format!("blobs/sha256/{}", "0".repeat(64)), b"x")),
            Refused("digest_mismatch", &["blobs/sha256/0000", "SHA-256"]),
        ),
        case(
            "config that is missing",
            [&layer[..], &manifest, &END].concat(),
            Refused("malformed", &[TAG, ".json is not in the archive"]),
        ),
        case(
            "layer that is missing",
            [&config[..], &manifest, &END].concat(),
            Refused("malformed", &[TAG, LAYER, "not in the archive"]),
        ),
        case(
            "manifest.json that is missing",
            [&config[..], &layer, &END].concat(),
            Refused("malformed", &["manifest.json"]),
        ),
        case(
            "one block of zeros at the end",
            [&good.members().concat()[..], &[0; 512]].concat(),
            Refused("truncated", &["two blocks of zeros"]),
        ),
        case("no block of zeros at the end", good.members().concat(), Refused("truncated", &["two blocks of zeros"])),
        case(
            "one block of zeros between members",
            [&config[..], &layer, &manifest, &[0; 512], &file("x", b"x"), &END].concat(),
            Refused("corrupt", &["block of zeros"]),
        ),
        case("padding after the end", [&good.archive()[..], &[0; 9000]].concat(), GOOD),
        case("second archive after the end", [good.archive(), two.clone()].concat(), Refused("trailing", &[])),
        case(
            "second archive far after the end",
            [&good.archive()[..], &[0; 10240], &two].concat(),
            Refused("trailing", &[]),
        ),
        case("one byte after the end", [&good.archive()[..], b"x"].concat(), Refused("trailing", &[])),
    ];
    // Links within the archive, as docker save and podman write them for repeated layers.
    let linked = |kind: u8, target: &str, place: &str| {
        let moved = file(place, &good.layer);
        [&config[..], &moved, &link(kind, LAYER, target), &manifest, &END].concat()
    };
    let missing = Refused("malformed", &[TAG, LAYER, "not in the archive"]);
    for (name, kind, target, place, right) in [
        ("layer as a symbolic link", b'2', "../b/layer.tar", "b/layer.tar", GOOD),
        ("layer as an absolute symbolic link", b'2', "/b/layer.tar", "b/layer.tar", GOOD),
        ("layer as a hard link", b'1', "b/layer.tar", "b/layer.tar", GOOD),
        ("layer as a link to itself", b'2', "layer.tar", "b/layer.tar", missing),
        ("layer as a link out of the archive", b'2', "../../b/layer.tar", "b/layer.tar", missing),
        ("layer as a link to nothing", b'1', "c/layer.tar", "b/layer.tar", missing),
    ] {
        cases.push(case(name, linked(kind, target, place), right));
    }
    let chain: Vec<u8> = (0..20).flat_map(|n| link(b'1', &format!("l{n}"), &format!("l{}", n + 1))).collect();
    let long = [&config[..], &chain, &file("l20", &good.layer), &link(b'1', LAYER, "l0"), &manifest, &END].concat();
    cases.push(case("layer through twenty links", long, missing));
    let both = [&config[..], &layer, &link(b'2', LAYER, "x"), &manifest, &END].concat();
    cases.push(case("layer and a link of its name", both, Refused("malformed", &[LAYER, "twice"])));
    let other = file(LAYER, &crate::sample::layer("other", 10));
    let both = [&config[..], &layer, &other, &manifest, &END].concat();
    cases.push(case("layer twice", both, Refused("malformed", &[LAYER, "twice"])));
    let cases_of_directories = [through_directory(&good, "d/../b", "e/b"), through_directory(&good, "d/../b", "b")];
    for (bytes, name) in cases_of_directories
        .into_iter()
        .zip(["layer through a directory link, as the kernel walks", "layer through a directory link, by its text"])
    {
        // A link is resolved by its text; the digest decides whether that was right.
        let right = if name.ends_with("text") { GOOD } else { missing };
        cases.push(case(name, bytes, right));
    }
    let legacy = [
        RawHeader::new(b"x/", 0).kind(b'5').block(),
        file("x/VERSION", b"1.0"),
        file("x/json", br#"{"id":"x"}"#),
        file("x/layer.tar", &crate::sample::layer("x", 10)),
    ];
    cases.push(case(
        "directories of Docker before 1.10 as well",
        [&legacy.concat()[..], &good.archive()].concat(),
        GOOD,
    ));
    cases
}

fn through_directory(good: &Good, target: &str, place: &str) -> Vec<u8> {
    let [config, _, manifest] = good.members();
    let directory = |name: &[u8]| RawHeader::new(name, 0).kind(b'5').block();
    let links =
        [directory(b"e"), directory(b"e/f"), link(b'2', "d", "e/f"), link(b'2', LAYER, &format!("../{target}"))];
    [&config[..], &links.concat(), &file(place, &good.layer), &manifest, &END].concat()
}

/// Two images of a layer each.
pub(crate) fn two_images() -> Vec<u8> {
    let good = good();
    let other = layer("good2", 200);
    let other_config = config(&[&other]);
    let names = [config_name(&good.config), config_name(&other_config)];
    let manifest = entries(&[(&names[0], &[TAG], &[LAYER]), (&names[1], &["sec/good2:1"], &["b/layer.tar"])]);
    let [config, layer, _] = good.members();
    let more =
        [file(&names[1], &other_config), file("b/layer.tar", &other), file("manifest.json", manifest.as_bytes())];
    [&config[..], &layer, &more.concat(), &END].concat()
}

/// What a layer can be.
fn layers() -> Vec<Case> {
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
fn streams() -> Vec<Case> {
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

/// Layouts of the tools in the field.
fn field() -> Vec<Case> {
    let (base, top) = (layer("base", 2000), layer("top", 300));
    let plain = config(&[&base, &top]);
    let packed = [gzip(&base), gzip(&top)];
    let arm = String::from_utf8(plain.clone()).unwrap().replace("amd64", "arm64").into_bytes();
    let tar = |members: &[(&str, &[u8])]| {
        let mut tar = Tar::new();
        for (name, bytes) in members {
            tar.file(name, bytes);
        }
        tar.end()
    };
    let docker = |config: &str, tags: &str, layers: &[&str]| {
        let layers: Vec<String> = layers.iter().map(|layer| format!("\"{layer}\"")).collect();
        format!(r#"[{{"Config":"{config}","RepoTags":{tags},"Layers":[{}]}}]"#, layers.join(","))
    };
    let (hex, names) = (config_name(&plain), ["a/layer.tar", "b/layer.tar"]);
    let manifest = |config: &str| docker(config, r#"["f/x:1"]"#, &names);
    let tagged = Loaded(&["f/x:1"]);
    let zipped: Vec<String> = packed.iter().map(|layer| format!("{}.tar.gz", sha256(layer))).collect();
    let zst = [zstd::encode_all(&base[..], 3).unwrap(), zstd::encode_all(&top[..], 3).unwrap()];
    let zst_names: Vec<String> = zst.iter().map(|layer| format!("{}.tar.zst", sha256(layer))).collect();
    let colon = format!("sha256:{}", sha256(&plain));
    let (g0, g1, z0, z1) = (&zipped[0][..], &zipped[1][..], &zst_names[0][..], &zst_names[1][..]);
    let crane = entries(&[(&colon, &["f/c2:1"], &[g0, g1]), (&colon, &["f/c2:latest"], &[g0, g1])]);
    let mut hard = Tar::new();
    hard.file("a/layer.tar", &base);
    let mut hard = hard.end();
    hard.truncate(hard.len() - 1024);
    let twice = config(&[&base, &base]);
    let hard = [
        &hard[..],
        &link(b'1', "b/layer.tar", "a/layer.tar"),
        &file(&config_name(&twice), &twice),
        &link(b'1', "x.json", &config_name(&twice)),
        &file("manifest.json", manifest("x.json").as_bytes()),
        &END,
    ]
    .concat();
    let sparse_layer = |raw: Vec<u8>| {
        [
            &raw[..],
            &file(&hex, &plain),
            &file("b/layer.tar", &top),
            &file("manifest.json", manifest(&hex).as_bytes()),
            &END,
        ]
        .concat()
    };
    let bsd = [
        pax(&[
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"a/layer.tar"),
            (b"GNU.sparse.realsize", b"3584"),
        ]),
        file("GNUSparseFile.0/layer.tar", &base),
    ]
    .concat();
    let oci = |image: &Oci| image.archive();
    let one = Oci::new(&[base.clone(), top.clone()], "amd64");
    let zipped_oci = Oci::stored(&packed, &plain);
    let bazel_config = config(&[&packed[0], &packed[1]]);
    let no_layers = Oci { layers: Vec::new(), ..Oci::new(&[base.clone(), top.clone()], "amd64") };
    let sha512 = one.archive_with(|index| index.replace("\"digest\":\"sha256:", "\"digest\":\"sha512:"));
    vec![
        case(
            "bazel: gzip layers with the diff_ids of the packed bytes",
            oci(&Oci::stored(&packed, &bazel_config)),
            Refused("digest_mismatch", &["uncompressed", "SHA-256"]),
        ),
        case(
            "OCI manifest without layers",
            oci(&no_layers),
            Refused("malformed", &["f/x:1", "0 layers", "config has 2"]),
        ),
        case(
            "OCI manifest without layers, and manifest.json",
            no_layers.with_docker(),
            Refused("malformed", &["f/x:1", "0 layers", "config has 2"]),
        ),
        case("buildx: two platforms", one.multi(&Oci::new(std::slice::from_ref(&base), "arm64"), true), tagged),
        case(
            "docker save: another platform is missing",
            one.multi(&Oci::new(std::slice::from_ref(&base), "arm64"), false),
            tagged,
        ),
        case(
            "crane: an entry for each tag",
            tar(&[
                (&colon, &plain),
                (g0, &packed[0]),
                (g1, &packed[1]),
                (&colon, &plain),
                ("manifest.json", crane.as_bytes()),
            ]),
            Loaded(&["f/c2:1", "f/c2:latest"]),
        ),
        case(
            "crane: zstd layers",
            tar(&[
                (&colon, &plain),
                (z0, &zst[0]),
                (z1, &zst[1]),
                ("manifest.json", docker(&colon, r#"["f/x:1"]"#, &[z0, z1]).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "jib: config.json",
            tar(&[
                (g0, &packed[0]),
                (g1, &packed[1]),
                ("config.json", &plain),
                ("manifest.json", docker("config.json", r#"["f/x:1"]"#, &[g0, g1]).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "config with a long name",
            tar(&[
                (&format!("image/config/{}", "x".repeat(150)), &plain),
                (names[0], &base),
                (names[1], &top),
                ("manifest.json", manifest(&format!("image/config/{}", "x".repeat(150))).as_bytes()),
            ]),
            tagged,
        ),
        case(
            "podman: plain names, no tag",
            tar(&[
                ("manifest.json", docker(&hex, "null", &["0.tar", "1.tar"]).as_bytes()),
                ("0.tar", &base),
                ("1.tar", &top),
                (&hex, &plain),
            ]),
            Loaded(&[]),
        ),
        case(
            "docker save of an id",
            tar(&[
                ("b/VERSION", b"1.0"),
                ("b/json", b"{}"),
                (names[1], &top),
                (&hex, &plain),
                ("a/VERSION", b"1.0"),
                ("a/json", b"{}"),
                (names[0], &base),
                ("manifest.json", docker(&hex, "null", &names).as_bytes()),
            ]),
            Loaded(&[]),
        ),
        case(
            "OCI layout with two names of an image",
            one.archive_with(|index| index.replace("}]}", &format!("}},{}]}}", one.descriptor("f/x:latest")))),
            Loaded(&["f/x:1", "f/x:latest"]),
        ),
        case("bsdtar: sparse layer", sparse_layer(bsd), Refused("unsupported", &["a/layer.tar", "sparse"])),
        case("sha512 digests", sha512, Refused("unsupported", &["sha512"])),
        case(
            "guix pack: names with a leading slash",
            [
                file(&format!("/{hex}"), &plain),
                file("/a/layer.tar", &base),
                file("/b/layer.tar", &top),
                file("/manifest.json", manifest(&hex).as_bytes()),
                END.to_vec(),
            ]
            .concat(),
            tagged,
        ),
        case("hard links of layers and config", hard, tagged),
        case(
            "another architecture",
            tar(&[
                (names[0], &base),
                (names[1], &top),
                (&config_name(&arm), &arm),
                ("manifest.json", manifest(&config_name(&arm)).as_bytes()),
            ]),
            tagged,
        ),
        case("containerd: gzip layers in an OCI layout", oci(&zipped_oci), tagged),
        case("docker save: both layouts", one.with_docker(), tagged),
    ]
}

/// Tags and lists of names.
fn names() -> Vec<Case> {
    let good = good();
    let config = config_name(&good.config);
    let [first, layer, _] = good.members();
    let with = |tags: &[&str]| {
        let manifest = entries(&[(&config, tags, &[LAYER])]);
        [&first[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat()
    };
    let no_tag = Refused("malformed", &["manifest.json", "is no tag"]);
    let long = |len: usize| format!("sec/x:{}", "t".repeat(len));
    let mut cases = vec![
        case("tag twice", with(&[TAG, TAG]), GOOD),
        case("tag in a short and in a long form", with(&["app:1", "docker.io/library/app:1"]), Loaded(&["app:1"])),
        case("name without a tag", with(&["sec/x"]), Loaded(&["sec/x:latest"])),
        case("tag of a registry with a port", with(&["localhost:5000/x:1"]), Loaded(&["localhost:5000/x:1"])),
        case(
            "tag of 128 characters",
            with(&[&long(128)]),
            Loaded(Box::leak(Box::new([&*Box::leak(long(128).into_boxed_str())]))),
        ),
        case(
            "image in two entries with a tag each",
            {
                let manifest = entries(&[(&config, &[TAG], &[LAYER]), (&config, &["evil/app:latest"], &[LAYER])]);
                [&first[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat()
            },
            Loaded(&[TAG, "evil/app:latest"]),
        ),
        case(
            "repositories with another name",
            good.and(&file("repositories", br#"{"evil/app":{"latest":"a"}}"#)),
            Refused("malformed", &["repositories", "evil/app:latest"]),
        ),
        case("repositories with the same name", good.and(&file("repositories", br#"{"sec/good":{"1":"a"}}"#)), GOOD),
        case(
            "repositories with one name more",
            good.and(&file("repositories", br#"{"sec/good":{"1":"a","2":"a"}}"#)),
            Refused("malformed", &["repositories", "sec/good:2"]),
        ),
        case("empty repositories", good.and(&file("repositories", b"{}")), GOOD),
        case(
            "repositories alone",
            [&first[..], &layer, &file("repositories", br#"{"sec/good":{"1":"a"}}"#), &END].concat(),
            Refused("unsupported", &["before 1.10"]),
        ),
        case(
            "index.json and another repositories",
            [&Oci::new(std::slice::from_ref(&good.layer), "amd64").archive()[..]]
                .concat()
                .strip_suffix(&END)
                .map(|bytes| [bytes, &file("repositories", br#"{"evil/app":{"latest":"a"}}"#), &END].concat())
                .unwrap(),
            Refused("malformed", &["repositories", "evil/app:latest"]),
        ),
    ];
    for tag in [
        "",
        "UPPER/x:1",
        "sec/UPPER:1",
        "sec/x:",
        ":1",
        "sec//x:1",
        "sec/x:-1",
        "sec/x:1 ",
        "a:b:c",
        "sec/x@sha256:00",
        "é:1",
        "<none>:<none>",
        "-x.y/a:1",
    ] {
        cases.push(case(format!("tag {tag:?}"), with(&[tag]), no_tag));
    }
    cases.push(case("tag of 129 characters", with(&[&long(129)]), no_tag));
    cases.push(case("tag that looks like an id", with(&[&"a".repeat(64)]), no_tag));
    let other = crate::sample::layer("good2", 200);
    let other_config = crate::sample::config(&[&other]);
    let two = |tags: [&str; 2]| {
        let manifest =
            entries(&[(&config, &[tags[0]], &[LAYER]), (&config_name(&other_config), &[tags[1]], &["b/layer.tar"])]);
        let more = [
            file(&config_name(&other_config), &other_config),
            file("b/layer.tar", &other),
            file("manifest.json", manifest.as_bytes()),
        ];
        [&first[..], &layer, &more.concat(), &END].concat()
    };
    cases.push(case("tag of two images", two([TAG, TAG]), Refused("malformed", &[TAG, "two images"])));
    cases.push(case(
        "tag of two images, in two forms",
        two(["app", "docker.io/library/app:latest"]),
        Refused("malformed", &["app:latest", "two images"]),
    ));
    for os in ["windows", "freebsd", "Windows"] {
        let text = String::from_utf8(good.config.clone()).unwrap().replace("linux", os).into_bytes();
        let manifest = entries(&[(&config_name(&text), &[TAG], &[LAYER])]);
        let bytes =
            [&file(&config_name(&text), &text)[..], &layer, &file("manifest.json", manifest.as_bytes()), &END].concat();
        cases.push(case(format!("image for {os}"), bytes, Refused("unsupported", &[TAG, "operating system"])));
    }
    cases
}

/// An image in an OCI layout.
#[derive(Clone)]
pub(crate) struct Oci {
    pub(crate) config: Vec<u8>,
    /// The stored layers.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) architecture: String,
}

pub(crate) const OCI: &str = "application/vnd.oci.image";

impl Oci {
    pub(crate) fn new(layers: &[Vec<u8>], architecture: &str) -> Self {
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let config = String::from_utf8(config(&layers)).unwrap().replace("amd64", architecture).into_bytes();
        Self { config, layers: layers.iter().map(|layer| layer.to_vec()).collect(), architecture: architecture.into() }
    }

    pub(crate) fn stored(layers: &[Vec<u8>], config: &[u8]) -> Self {
        Self { config: config.to_vec(), layers: layers.to_vec(), architecture: "amd64".into() }
    }

    pub(crate) fn manifest(&self) -> String {
        let layer = |layer: &Vec<u8>| {
            let suffix = match layer[..] {
                [0x1f, 0x8b, ..] => "+gzip",
                [0x28, 0xb5, ..] => "+zstd",
                _ => "",
            };
            describe(&format!("layer.v1.tar{suffix}"), layer)
        };
        let layers: Vec<String> = self.layers.iter().map(layer).collect();
        let config = describe("config.v1+json", &self.config);
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}.manifest.v1+json","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    }

    /// The descriptor of the manifest with a name.
    pub(crate) fn descriptor(&self, name: &str) -> String {
        named(&describe("manifest.v1+json", self.manifest().as_bytes()), name)
    }

    pub(crate) fn blobs(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let all = self.layers.iter().map(Vec::as_slice).chain([&self.config[..], manifest.as_bytes()]);
        all.flat_map(blob).collect()
    }

    pub(crate) fn index(&self) -> String {
        index_of(&[self.descriptor("f/x:1")])
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        self.archive_with(|index| index)
    }

    pub(crate) fn archive_with(&self, change: impl Fn(String) -> String) -> Vec<u8> {
        layout(&self.blobs(), &change(self.index()))
    }

    /// The archive with a `manifest.json` that says the same.
    pub(crate) fn with_docker(&self) -> Vec<u8> {
        let config = format!("blobs/sha256/{}", sha256(&self.config));
        let diff_ids = self.layers.len();
        let layers: Vec<String> = self.layers.iter().map(|layer| format!("blobs/sha256/{}", sha256(layer))).collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).take(diff_ids).collect();
        let manifest = entries(&[(&config, &["f/x:1"], &layers)]);
        layout(&[self.blobs(), file("manifest.json", manifest.as_bytes())].concat(), &self.index())
    }

    /// An index of this image and another one, whose blobs may be missing.
    pub(crate) fn multi(&self, other: &Self, has_other: bool) -> Vec<u8> {
        let inner = index_of(&[self.for_platform(), other.for_platform()]);
        let top = named(&describe("index.v1+json", inner.as_bytes()), "f/x:1");
        let other = if has_other { other.blobs() } else { Vec::new() };
        layout(&[self.blobs(), other, blob(inner.as_bytes())].concat(), &index_of(&[top]))
    }

    /// The descriptor of the manifest with a platform.
    pub(crate) fn for_platform(&self) -> String {
        let platform = format!(r#","platform":{{"architecture":"{}","os":"linux"}}}}"#, self.architecture);
        format!("{}{platform}", describe("manifest.v1+json", self.manifest().as_bytes()).strip_suffix('}').unwrap())
    }
}

/// A descriptor.
pub(crate) fn describe(kind: &str, content: &[u8]) -> String {
    format!(r#"{{"mediaType":"{OCI}.{kind}","digest":"sha256:{}","size":{}}}"#, sha256(content), content.len())
}

/// The descriptor with the name that containerd and Docker write.
pub(crate) fn named(descriptor: &str, name: &str) -> String {
    let name = format!(r#","annotations":{{"io.containerd.image.name":"{name}"}}}}"#);
    format!("{}{name}", descriptor.strip_suffix('}').unwrap())
}

pub(crate) fn index_of(descriptors: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI}.index.v1+json","manifests":[{}]}}"#, descriptors.join(","))
}

pub(crate) fn blob(content: &[u8]) -> Vec<u8> {
    file(&format!("blobs/sha256/{}", sha256(content)), content)
}

/// An archive of blobs and an index.
pub(crate) fn layout(blobs: &[u8], index: &str) -> Vec<u8> {
    let documents = [file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), file("index.json", index.as_bytes())];
    [blobs, &documents.concat(), &END].concat()
}
