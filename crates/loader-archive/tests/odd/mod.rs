//! Archives that two readers interpreted differently, or that a tool writes in an
//! unusual way, with the correct result for each.

mod field;
mod headers;
mod layers;
mod members;
mod oci;

use crate::sample::{Tar, config, gzip, layer, sha256};
#[allow(unused_imports, reason = "each test uses its part")]
pub(crate) use oci::{Oci, blob, describe, index_of, layout, named};

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

/// An archive, the name of its oddity, and the correct result.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) right: Right,
}

/// Returns all cases.
pub(crate) fn cases() -> Vec<Case> {
    let all = [
        headers::headers(),
        headers::extensions(),
        members::members(),
        layers::layers(),
        layers::streams(),
        field::field(),
        field::names(),
    ];
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
