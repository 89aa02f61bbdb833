//! Writes archives in odd ways, rewrites each as `az-load` does, and prints what an
//! engine would get, for another reader to compare with the model.
//!
//! `odd-archives COUNT SEED`: for each accepted archive a line of JSON with the number,
//! the layout, the platform, the images and the length, and after it the archive. The last line is
//! `{"archives":N,"accepted":N}`.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its archive may panic")]
#![allow(clippy::print_stderr, reason = "its usage")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../tests/odd/mod.rs"]
mod odd;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../tests/rewritten/mod.rs"]
mod rewritten;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../tests/sample/mod.rs"]
mod sample;

use loader_archive::{Image, Layout, Platform, PlatformChoice, Reference};
use odd::{END, Good, Oci, RawHeader, evil_manifest, extension, file, good, link, padded, pax};
use rewritten::{LAYOUTS, rewrite};
use serde_json::json;
use std::io::{BufWriter, Write};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(count)), Some(Ok(seed))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: odd-archives COUNT SEED");
        std::process::exit(2);
    };
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let writer = OddWriter::new();
    let mut accepted = 0;
    for number in 0..count {
        // Each archive has a seed of its own, so that one can be made again alone.
        let mut chance = Chance::new(seed, number);
        let bytes = writer.archive(&mut chance);
        let (choice, platform) = match chance.below(8) {
            0 => (PlatformChoice::All, ""),
            1 => (PlatformChoice::Only(Platform::new("linux", "arm64", "")), "linux/arm64"),
            _ => (rewritten::machine(), "linux/amd64"),
        };
        let layout = chance.one_of(&LAYOUTS);
        let Ok((written, images)) = rewrite(&bytes, &choice, layout) else { continue };
        accepted += 1;
        let name = if layout == Layout::Docker { "docker" } else { "oci" };
        let images: Vec<_> = images.iter().map(describe).collect();
        let line =
            json!({"number": number, "layout": name, "platform": platform, "images": images, "len": written.len()});
        writeln!(out, "{line}").and_then(|()| out.write_all(&written)).unwrap();
    }
    writeln!(out, "{}", json!({"archives": count, "accepted": accepted})).and_then(|()| out.flush()).unwrap();
}

fn describe(image: &Image) -> serde_json::Value {
    let tags: Vec<String> = image.tags.iter().map(|tag| Reference::parse(tag).unwrap().canonical()).collect();
    let layers: Vec<&str> = image.layers.iter().map(|layer| layer.digest.as_deref().unwrap()).collect();
    json!({"config": image.config, "tags": tags, "layers": layers})
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn new(seed: u64, number: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

struct OddWriter {
    /// The archives of the tests, to change.
    bases: Vec<Vec<u8>>,
    good: Good,
    hidden: Vec<u8>,
    oci: [Oci; 3],
}

impl OddWriter {
    fn new() -> Self {
        let small = sample::Sample { len: 300, ..sample::SMALL };
        let cases = odd::cases().into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() < 30_000);
        let bases = cases.chain([small.legacy(), small.oci(true), small.oci(false)]).collect();
        let good = good();
        let hidden = good.and(&file("manifest.json", &evil_manifest(&good)));
        let base = sample::layer("base", 200);
        let packed = [sample::gzip(&base)];
        let oci = [
            Oci::new(&[base.clone(), sample::layer("top", 100)], "amd64"),
            Oci::new(std::slice::from_ref(&base), "arm64"),
            Oci::stored(&packed, &sample::config(&[&base])),
        ];
        Self { bases, good, hidden, oci }
    }

    fn archive(&self, chance: &mut Chance) -> Vec<u8> {
        match chance.below(20) {
            0 => (0..chance.below(3000)).map(|_| chance.next() as u8).collect(),
            1..=8 => self.odd_members(chance),
            9..=13 => self.odd_documents(chance),
            _ => self.changed(chance),
        }
    }

    /// The good image with members that are written as no tool does, and hidden archives.
    fn odd_members(&self, chance: &mut Chance) -> Vec<u8> {
        let config = format!("{}.json", sample::sha256(&self.good.config));
        let manifest = self.good.manifest.as_bytes();
        let named: [(&str, &[u8]); 3] =
            [(&config, &self.good.config), (odd::LAYER, &self.good.layer), ("manifest.json", manifest)];
        let mut parts = Vec::new();
        for (name, content) in named {
            if chance.one_in(4) {
                let evil = evil_manifest(&self.good);
                let hidden = &self.hidden[..self.hidden.len() - END.len()];
                let content = chance.one_of(&[&self.hidden[..], hidden, b"abc", b"", content, &evil[..]]);
                let name = chance.one_of(&["x", name, "y/z", "manifest.json", "index.json", "repositories"]);
                parts.push(odd_member(chance, name.as_bytes(), content));
            }
            if chance.one_in(12) {
                let kind = chance.one_of(b"12");
                let name = chance.one_of(&["d", "x", "blobs", "a", "e/f", name]);
                parts.push(link(
                    kind,
                    name,
                    chance.one_of(&[".", "a", "manifest.json", "../x", "/", "x/..", odd::LAYER]),
                ));
            }
            parts.push(if chance.one_in(4) {
                odd_member(chance, name.as_bytes(), content)
            } else {
                file(name, content)
            });
        }
        if chance.one_in(10) {
            let (one, other) = (chance.below(parts.len()), chance.below(parts.len()));
            parts.swap(one, other);
        }
        let end = chance.one_of(&[&END[..], &END[..], &[0; 5120][..], &[0; 512], b""]);
        let whole = [&parts.concat()[..], end].concat();
        match chance.below(20) {
            0 => sample::gzip(&whole),
            1 => zstd::encode_all(&whole[..], 1).unwrap(),
            _ => whole,
        }
    }

    /// Good layers, and documents with a changed text, under their own digests.
    fn odd_documents(&self, chance: &mut Chance) -> Vec<u8> {
        if chance.one_in(2) {
            let layer =
                if chance.one_in(6) { changed(chance, &self.good.layer, &self.bases) } else { self.good.layer.clone() };
            let mut config = sample::config(&[&layer]);
            let mut manifest = odd::entries(&[("c", &[odd::TAG], &[odd::LAYER])]).into_bytes();
            let mut repositories = br#"{"sec/good":{"1":"a"}}"#.to_vec();
            odd_json(chance, [&mut config, &mut manifest, &mut repositories].as_mut_slice());
            let layer = if chance.one_in(4) { sample::gzip(&layer) } else { layer };
            let more = if chance.one_in(3) { file("repositories", &repositories) } else { Vec::new() };
            return [
                &file("c", &config),
                &file(odd::LAYER, &layer),
                &file("manifest.json", &manifest)[..],
                &more,
                &END,
            ]
            .concat();
        }
        let mut image = chance.pick(&self.oci).clone();
        let other = chance.pick(&self.oci).clone();
        odd_json(chance, &mut [&mut image.config]);
        let mut manifest = image.manifest().into_bytes();
        odd_json(chance, &mut [&mut manifest]);
        let descriptor = odd::describe("manifest.v1+json", &manifest);
        let inner = match chance.below(3) {
            0 => None,
            1 => Some(odd::index_of(&[descriptor.clone(), other.for_platform()])),
            _ => Some(odd::index_of(&[other.for_platform(), descriptor.clone()])),
        };
        let mut blobs = [image.blobs(), odd::blob(&manifest)].concat();
        if chance.one_in(2) {
            blobs.extend(other.blobs());
        }
        let top = match inner {
            None => descriptor,
            Some(inner) => {
                let mut inner = inner.into_bytes();
                odd_json(chance, &mut [&mut inner]);
                blobs.extend(odd::blob(&inner));
                odd::describe("index.v1+json", &inner)
            }
        };
        let mut tops = vec![odd::named(&top, "f/x:1")];
        if chance.one_in(3) {
            tops.push(other.descriptor(chance.one_of(&["f/x:1", "f/x:latest", "f/y:1"])));
        }
        let mut index = odd::index_of(&tops).into_bytes();
        odd_json(chance, &mut [&mut index]);
        odd::layout(&blobs, &String::from_utf8_lossy(&index))
    }

    /// An archive of the tests with a few changes.
    fn changed(&self, chance: &mut Chance) -> Vec<u8> {
        let base = chance.pick(&self.bases).clone();
        changed(chance, &base, &self.bases)
    }
}

fn changed(chance: &mut Chance, base: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..=chance.below(3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = chance.below(bytes.len());
        let block = at / 512 * 512;
        let end = (block + 512 * (1 + chance.below(4))).min(bytes.len());
        let other = chance.pick(others);
        match chance.below(9) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(block..end)),
            4 => bytes.extend_from_within(block..end),
            5 => {
                let piece = bytes[block..end].to_vec();
                let to = chance.below(bytes.len()) / 512 * 512;
                drop(bytes.splice(to..to, piece));
            }
            6 => drop(bytes.splice(block..end, other.iter().copied().skip(block).take(512 * 3))),
            7 => {
                let text =
                    chance.one_of(&[&b"manifest.json"[..], b"index.json", b"../", b"ustar", b"x/", b"\0", b"0000000"]);
                let end = (at + text.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&text[..end - at]);
            }
            _ => drop(bytes.splice(at..at, chance.next().to_le_bytes())),
        }
    }
    // A change in a header counts only with a checksum that matches.
    if chance.one_in(2) {
        for block in bytes.as_chunks_mut::<512>().0 {
            if block[257..262] == *b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
    }
    bytes
}

/// Changes the text of some documents.
fn odd_json(chance: &mut Chance, documents: &mut [&mut Vec<u8>]) {
    const PIECES: [&str; 24] = [
        r#""RepoTags":["evil/app:1"],"#,
        r#""repotags":["evil/app:1"],"#,
        r#""Layers":null,"#,
        r#""layers":[],"#,
        r#""manifests":[],"#,
        r#""Config":"x","#,
        r#""config":{},"#,
        r#""rootfs":{},"#,
        r#""RootFS":{"diff_ids":[]},"#,
        r#""os":"windows","#,
        r#""OS":"linux","#,
        r#""x":1e999,"#,
        r#""x":99999999999999999999,"#,
        r#""x":"\ud800","#,
        r#""x":[[[[[[]]]]]],"#,
        r#""mediaType":"application/vnd.oci.image.index.v1+json","#,
        r#""size":-1,"#,
        r#""platform":{"os":"linux","architecture":"amd64"},"#,
        r#""annotations":{"vnd.docker.reference.type":"attestation-manifest"},"#,
        r#""annotations":{"io.containerd.image.name":"evil/app:1"},"#,
        r#""LayerSources":{},"#,
        r#""Parent":"x","#,
        "\u{feff}",
        " ",
    ];
    for document in documents {
        if !chance.one_in(2) {
            continue;
        }
        let at = chance.below(document.len().max(1));
        match chance.below(7) {
            0 => document.extend(chance.one_of(&[&b" "[..], b"\n", b"{}", b"[]", b"x", b"\0", b"\xff"])),
            1 => document.truncate(at),
            2 => {
                if let Some(byte) = document.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            3 => document.clear(),
            _ => {
                // After an opening brace, as another key.
                let braces: Vec<usize> =
                    document.iter().enumerate().filter(|(_, byte)| **byte == b'{').map(|(at, _)| at + 1).collect();
                if !braces.is_empty() {
                    let at = chance.one_of(&braces);
                    drop(document.splice(at..at, chance.one_of(&PIECES).bytes()));
                }
            }
        }
    }
}

fn odd_extension(chance: &mut Chance, name: &[u8], size: usize) -> Vec<u8> {
    let digits = size.to_string().into_bytes();
    let larger = (size + 512).to_string().into_bytes();
    match chance.below(9) {
        0 => pax(&[(b"path", chance.one_of(&[name, b"x", b"x/", b"manifest.json", b"./x"]))]),
        1 => {
            let records = [odd::record(b"path", name), odd::record(b"size", &digits)].concat();
            extension(chance.one_of(b"xgX"), &records)
        }
        2 => pax(&[(b"size", chance.one_of(&[&digits[..], b"0", &larger[..], b"+5", b" 5", b"5 ", b"0x10", b"005"]))]),
        3 => pax(&[(b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", name), (b"GNU.sparse.realsize", b"4")]),
        4 => pax(&[(b"hdrcharset", b"BINARY"), (b"path", name)]),
        5 => pax(&[(
            chance.one_of(&[&b"linkpath"[..], b"comment", b"SCHILY.realsize", b"", b"uid", b"mtime"]),
            b"x\n13 size=99\n",
        )]),
        6 => extension(chance.one_of(b"xg"), &odd::record(b"comment", b"x")),
        7 => extension(b'x', b"99 path=a\n"),
        _ => extension(chance.one_of(b"LKN"), &[name, b"\0"].concat()),
    }
}

fn odd_member(chance: &mut Chance, name: &[u8], content: &[u8]) -> Vec<u8> {
    let size = content.len();
    let mut calls = name.to_vec();
    if chance.one_in(3) {
        let (before, after) = chance.one_of(&[
            (&b""[..], &b"/"[..]),
            (b"./", b""),
            (b"/", b""),
            (b"x/../", b""),
            (b"", b"\0x"),
            (b"", b"/."),
            (b"P*M\x18", b""),
            (b"BZh", b""),
            (b"d/", b""),
        ]);
        calls = [before, &calls, after].concat();
    }
    let mut header = RawHeader::new(&calls, size);
    if chance.one_in(3) {
        let octal = format!("{size:o}").into_bytes();
        let mut base256 = [0; 12];
        base256[0] = 0x80;
        base256[4..].copy_from_slice(&(size as u64).to_be_bytes());
        let mut junk = [b'7'; 12];
        junk[..octal.len()].copy_from_slice(&octal);
        junk[octal.len()] = 0;
        let fields = [
            format!("{size:011o} ").into_bytes(),
            format!(" {size:010o}\0").into_bytes(),
            base256.to_vec(),
            junk.to_vec(),
            vec![0; 12],
            format!("+{size:010o}\0").into_bytes(),
            format!("-{size:010o}\0").into_bytes(),
            format!("{:011o}\0", size + 512).into_bytes(),
            vec![0xff; 12],
        ];
        header = header.set(124, &chance.pick::<Vec<u8>>(&fields)[..]);
    }
    if chance.one_in(3) {
        header = header.kind(chance.one_of(b"00\x007512SDAg"));
    }
    if chance.one_in(3) {
        header = header.set(
            257,
            &chance.one_of::<[u8; 8]>(&[*b"ustar\x0000", *b"ustar  \0", [0; 8], *b"ustar\0\0\0", *b"ustar \x000"])[..],
        );
    }
    if chance.one_in(6) {
        header = header.set(345, chance.one_of(&[b"a", b".", b"/", b"x"]));
    }
    if chance.one_in(6) {
        let at = chance.below(500);
        header = header.set(at, chance.one_of(&[b"\0", b"x", b"7", b"\xff", b"/", b"."]));
    }
    if chance.one_in(8) {
        header = header.set(157, chance.one_of(&[&b"manifest.json"[..], b"../x", b"."]));
    }
    let extensions = chance.one_of(&[0, 0, 0, 1, 1, 2]);
    let extensions: Vec<u8> = (0..extensions).flat_map(|_| odd_extension(chance, name, size)).collect();
    [extensions, header.block(), padded(content)].concat()
}
