//! Rewrites archives as `az-load` does, and reads the result with other readers: the
//! `tar` crate and plain `serde_json`.

use loader_archive::{
    Archive, ArchiveReader, CommitRecord, DecompressingReader, Error, Event, Image, LayerNames, LayerWriter, Layout,
    Platform, PlatformChoice, SkipLayers,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// All layouts that the writer has.
pub(crate) const LAYOUTS: [Layout; 3] = [Layout::Docker, Layout::OciManifests, Layout::OciIndexes];

/// The platform that the tests load for.
pub(crate) fn machine() -> PlatformChoice {
    PlatformChoice::Engine(Platform::new("linux", "amd64", ""))
}

/// Result of the reader, and the layers that it emitted.
pub(crate) struct Reading {
    pub(crate) verdict: Result<Archive, Error>,
    /// The layers as members of a new archive.
    pub(crate) layers: Vec<u8>,
    /// Names of the layers that were skipped.
    pub(crate) skipped: Vec<String>,
}

/// Reads an archive in pieces of `piece` bytes.
pub(crate) fn read(bytes: &[u8], piece: usize, skip: SkipLayers) -> Reading {
    let (mut layers, mut skipped) = (Vec::new(), Vec::new());
    let verdict = try_read(bytes, piece, skip, &mut layers, &mut skipped);
    Reading { verdict, layers, skipped }
}

fn try_read(
    bytes: &[u8],
    piece: usize,
    skip: SkipLayers,
    layers: &mut Vec<u8>,
    skipped: &mut Vec<String>,
) -> Result<Archive, Error> {
    let mut input = DecompressingReader::new(bytes)?;
    let mut reader = ArchiveReader::new(skip);
    let mut writer = LayerWriter::new(LayerNames::Digest);
    let mut buffer = vec![0; piece];
    loop {
        let len = input.read(&mut buffer)?;
        if len == 0 {
            return reader.finish();
        }
        reader.push::<Error>(&buffer[..len], &mut |event| {
            if let Event::LayerSkipped { name, .. } = &event {
                skipped.push((*name).to_owned());
            }
            writer.write(&event, &mut |bytes| {
                layers.extend(bytes);
                Ok(())
            })
        })?;
    }
}

/// Returns the archive that an engine would get, and its images.
///
/// # Errors
/// Why the archive is refused.
pub(crate) fn rewrite(bytes: &[u8], choice: &PlatformChoice, layout: Layout) -> Result<(Vec<u8>, Vec<Image>), Error> {
    let Reading { verdict, layers, .. } = read(bytes, 4096, SkipLayers::default());
    let archive = verdict?;
    let selected = archive.select(choice, &[])?;
    let record = CommitRecord::new(&selected, layout, &LayerNames::Digest)?;
    Ok(([layers, record.bytes].concat(), record.images))
}

/// Rewrites an archive in every layout, and returns its images.
///
/// # Errors
/// Why the archive is refused.
///
/// # Panics
/// If another reader finds in the result anything but the images.
pub(crate) fn rewrite_and_check(bytes: &[u8]) -> Result<Vec<Image>, Error> {
    let mut images = None;
    for layout in LAYOUTS {
        let (written, listed) = rewrite(bytes, &machine(), layout)?;
        check(&written, &listed, layout);
        let (again, listed_again) = rewrite(&written, &machine(), layout).expect("the written archive is read");
        check(&again, &listed_again, layout);
        let tags = |images: &[Image]| -> BTreeSet<(Option<String>, Vec<String>)> {
            images.iter().map(|image| (image.config.clone(), image.tags.clone())).collect()
        };
        assert_eq!(tags(&listed_again), tags(&listed), "read again");
        images.get_or_insert(listed);
    }
    Ok(images.unwrap_or_default())
}

/// Checks that another reader finds exactly `images` in an archive.
///
/// # Panics
/// If it finds anything else.
pub(crate) fn check(written: &[u8], images: &[Image], layout: Layout) {
    let files = files(written);
    let found = match layout {
        Layout::Docker => docker_images(&files),
        Layout::OciManifests | Layout::OciIndexes => oci_images(&files),
    };
    let expected: BTreeSet<Found> = images.iter().map(|image| Found::expected(image, layout)).collect();
    assert_eq!(found, expected);
    let named: Vec<&str> = files.keys().map(String::as_str).filter(|name| !name.contains('/')).collect();
    match layout {
        Layout::Docker => assert_eq!(named, ["manifest.json"]),
        Layout::OciManifests | Layout::OciIndexes => assert_eq!(named, ["index.json", "oci-layout"]),
    }
}

/// An image as an engine finds it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    config: String,
    tags: BTreeSet<String>,
    /// Digests of the stored layers.
    layers: Vec<String>,
}

impl Found {
    fn expected(image: &Image, layout: Layout) -> Self {
        let full = |tag: &String| loader_archive::Reference::parse(tag).expect("a tag of the model").canonical();
        let layers = image.layers.iter().map(|layer| layer.digest.clone().expect("a digest of the model"));
        assert!(layout == Layout::Docker || image.manifest.is_some(), "an OCI layout has manifests");
        Self {
            config: image.config.clone().expect("a config of the model"),
            tags: image.tags.iter().map(full).collect(),
            layers: layers.collect(),
        }
    }
}

/// The content of the members, each of which has the only header that we write.
fn files(written: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(written);
    for entry in tar.entries().expect("a tar archive") {
        let mut entry = entry.expect("a readable member");
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert!(header.as_ustar().is_some());
        let fixed = (header.mode().ok(), header.uid().ok(), header.gid().ok(), header.mtime().ok());
        assert_eq!(fixed, (Some(0o644), Some(0), Some(0), Some(0)));
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name of our own");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the content of a member");
        match name.split_once("blobs/sha256/") {
            Some((_, digits)) => assert_eq!(digits, hex(&content)),
            None => assert!(
                ["manifest.json", "index.json", "oci-layout"].contains(&name.as_str())
                    || name.strip_prefix("layers/").is_some_and(|n| n.parse::<u32>().is_ok()),
                "{name}"
            ),
        }
        if let Some(other) = files.insert(name.clone(), content.clone()) {
            assert_eq!(other, content, "{name} is there twice");
        }
    }
    let end = written.len() - 1024;
    assert!(written[end..].iter().all(|byte| *byte == 0), "the end of the archive");
    files
}

fn docker_images(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Found> {
    let entries: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
    let entries = entries.as_array().expect("a list");
    let image = |entry: &Value| {
        let config = &files[text(&entry["Config"])];
        let layers: Vec<&Vec<u8>> = texts(&entry["Layers"]).iter().map(|path| &files[path]).collect();
        check_diff_ids(config, &layers);
        Found {
            config: format!("sha256:{}", hex(config)),
            tags: texts(&entry["RepoTags"]).into_iter().collect(),
            layers: layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect(),
        }
    };
    let found: BTreeSet<Found> = entries.iter().map(image).collect();
    assert_eq!(found.len(), entries.len(), "an image twice");
    found
}

fn oci_images(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Found> {
    let blobs: BTreeMap<String, &Vec<u8>> =
        files.values().map(|content| (format!("sha256:{}", hex(content)), content)).collect();
    let index: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for descriptor in index["manifests"].as_array().expect("a list") {
        let tags = images.entry(text(&descriptor["digest"]).to_owned()).or_default();
        let annotations = &descriptor["annotations"];
        if let Some(name) = annotations["io.containerd.image.name"].as_str() {
            assert!(tags.insert(name.to_owned()), "{name} is there twice");
        }
        check_media_type(descriptor, &blobs);
    }
    let mut found = BTreeSet::new();
    for (digest, tags) in images {
        for manifest in manifests(&digest, &blobs) {
            let manifest: Value = serde_json::from_slice(manifest).expect("JSON");
            let config = blobs[text(&manifest["config"]["digest"])];
            let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
            let layers: Vec<&Vec<u8>> = layers.iter().map(|layer| blobs[text(&layer["digest"])]).collect();
            check_diff_ids(config, &layers);
            found.insert(Found {
                config: format!("sha256:{}", hex(config)),
                tags: tags.clone(),
                layers: layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect(),
            });
        }
    }
    found
}

/// Checks that the media type of a descriptor is that of the described document: engines
/// depend on it.
fn check_media_type(descriptor: &Value, blobs: &BTreeMap<String, &Vec<u8>>) {
    let document: Value = serde_json::from_slice(blobs[text(&descriptor["digest"])]).expect("JSON");
    let media_type = text(&descriptor["mediaType"]);
    let known = match document["manifests"].is_array() {
        true => {
            ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]
        }
        false => ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"],
    };
    assert!(known.contains(&media_type), "{media_type} describes {document}");
}

/// The manifests below a digest that are in the archive.
fn manifests<'a>(digest: &str, blobs: &BTreeMap<String, &'a Vec<u8>>) -> Vec<&'a Vec<u8>> {
    let Some(text_of) = blobs.get(digest) else { return Vec::new() };
    let document: Value = serde_json::from_slice(text_of).expect("JSON");
    match document["manifests"].as_array() {
        Some(inner) => inner.iter().flat_map(|inner| manifests(text(&inner["digest"]), blobs)).collect(),
        None => vec![text_of],
    }
}

fn check_diff_ids(config: &[u8], layers: &[&Vec<u8>]) {
    let config: Value = serde_json::from_slice(config).expect("JSON");
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(&uncompressed(layer)))).collect();
    assert_eq!(texts(&config["rootfs"]["diff_ids"]), ids);
}

fn uncompressed(layer: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    match layer {
        [0x1f, 0x8b, ..] => {
            flate2::read::MultiGzDecoder::new(layer).read_to_end(&mut content).expect("gzip");
            content
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => zstd::decode_all(layer).expect("zstd"),
        _ => layer.to_vec(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|value| text(value).to_owned()).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
