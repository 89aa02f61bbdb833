//! Writes the archive that an engine reads: layers as they pass, and at last the
//! documents that name images. Nothing of the input's names, headers and lists gets
//! into it.

use crate::compression::Compression;
use crate::members::LayerPlace;
use crate::model::{Document, ImageContent, ImageLayer};
use crate::names::format_digest;
use crate::oci_layout::{IMAGE_NAME, REF_NAME};
use crate::select::Selected;
use crate::tar::{BLOCK_LEN, END_OF_ARCHIVE, file_header, padding_len};
use crate::{Error, Event, Image, Reference};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The layout of the written archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `manifest.json`, as `docker save` writes it.
    Docker,
    /// `index.json` with a manifest for each tag.
    OciManifests,
    /// `index.json` with the indexes of the input, so that an image keeps its id on the
    /// containerd image store.
    OciIndexes,
}

/// The names of layers in the written archive.
#[derive(Clone, Debug)]
pub enum LayerNames {
    /// `layers/PREFIX-N`. A prefix is used once: containerd resumes an upload that was
    /// aborted by the name of the member, whatever its content was.
    Unique(String),
    /// `blobs/sha256/DIGEST` if the digest is known beforehand, as podman reads an OCI
    /// layout; otherwise `layers/N`.
    Digest,
}

impl LayerNames {
    fn path(&self, place: LayerPlace) -> String {
        match (self, place.promised) {
            (Self::Unique(prefix), _) => format!("layers/{prefix}-{}", place.number),
            (Self::Digest, Some(digest)) => format!("blobs/sha256/{}", hex::encode(digest)),
            (Self::Digest, None) => format!("layers/{}", place.number),
        }
    }
}

/// Writes layers as members of a new tar archive.
#[derive(Debug)]
pub struct LayerWriter {
    names: LayerNames,
    padding: usize,
}

impl LayerWriter {
    /// Creates a writer with these names.
    pub fn new(names: LayerNames) -> Self {
        Self { names, padding: 0 }
    }

    /// Writes what an event adds to the archive.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write<E>(&mut self, event: &Event<'_>, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match event {
            Event::LayerBegins { place, size } => {
                self.padding = padding_len(*size);
                write(&file_header(&self.names.path(*place), *size))
            }
            Event::LayerBytes(bytes) => write(bytes),
            Event::LayerEnds { .. } => write(&[0; BLOCK_LEN][..std::mem::take(&mut self.padding)]),
            Event::LayerSkipped { .. } => Ok(()),
        }
    }
}

/// The end of an archive: configs, manifests, the documents that name images, and the
/// two blocks of zeros. An engine tags nothing before it has read them.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The images that they name. `manifest` is the id on engines with the containerd
    /// image store.
    pub images: Vec<Image>,
}

impl CommitRecord {
    /// Creates the end of an archive with the selected images, whose layers have been
    /// written with `names`.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if an OCI layout is wanted and a layer was skipped,
    /// [`Error::Unsupported`] if Docker's layout would need one tag for several platforms.
    pub fn new(selected: &[Selected<'_>], layout: Layout, names: &LayerNames) -> Result<Self, Error> {
        let mut members = MemberWriter::default();
        let images = match layout {
            Layout::Docker => write_docker(&mut members, selected, names)?,
            Layout::OciManifests | Layout::OciIndexes => write_oci(&mut members, selected, layout)?,
        };
        let mut bytes = members.bytes;
        bytes.extend(END_OF_ARCHIVE);
        Ok(Self { bytes, images })
    }
}

/// Returns true if podman can load the selection from an OCI layout: one image with one
/// tag at most, whose layers have the names that the layout demands. Its manifest
/// survives then.
pub fn fits_one_oci_image(selected: &[Selected<'_>]) -> bool {
    let [Selected { tags, images, .. }] = selected else { return false };
    let [image] = images.as_slice() else { return false };
    let is_named =
        |layer: &ImageLayer| layer.blob.is_some_and(|blob| blob.place.is_some_and(|place| place.promised.is_some()));
    tags.len() <= 1 && image.manifest.is_some() && image.layers.iter().all(is_named)
}

/// Writes small members.
#[derive(Default)]
struct MemberWriter {
    bytes: Vec<u8>,
    written: BTreeSet<String>,
}

impl MemberWriter {
    fn member(&mut self, name: &str, content: &[u8]) {
        if self.written.insert(name.to_owned()) {
            self.bytes.extend(file_header(name, content.len() as u64));
            self.bytes.extend(content);
            self.bytes.extend(&[0; BLOCK_LEN][..padding_len(content.len() as u64)]);
        }
    }

    /// Writes a document under its digest, and returns that name.
    fn blob(&mut self, document: &Document) -> String {
        let name = format!("blobs/sha256/{}", hex::encode(document.digest));
        self.member(&name, &document.text);
        name
    }

    fn json(&mut self, name: &str, value: &impl Serialize) {
        self.member(name, &to_json(value));
    }
}

/// An entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn write_docker(
    members: &mut MemberWriter,
    selected: &[Selected<'_>],
    names: &LayerNames,
) -> Result<Vec<Image>, Error> {
    let mut entries: Vec<DockerEntry> = Vec::new();
    let mut listed = Vec::new();
    for one in selected {
        let Selected { root, tags, images, .. } = one;
        if images.len() > 1 {
            let why = "Docker's layout has room for one platform of an image";
            return Err(Error::Unsupported(format!("{}: {why}", one.label())));
        }
        for image in images {
            let path = |layer: &ImageLayer| match layer.blob.and_then(|blob| blob.place) {
                Some(place) => names.path(place),
                // An engine does not open the file of a layer that it has.
                None => format!("blobs/sha256/{}", hex::encode(layer.diff_id)),
            };
            entries.push(DockerEntry {
                config: members.blob(&image.config),
                repo_tags: tags.iter().map(Reference::canonical).collect(),
                layers: image.layers.iter().map(path).collect(),
            });
            listed.push(image.list(tags, root.top_digest().or(image.manifest_digest())));
        }
    }
    members.json("manifest.json", &entries);
    Ok(listed)
}

/// A descriptor of the OCI image specification.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<DescriptorPlatform>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    annotations: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Serialize)]
struct DescriptorPlatform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

impl Descriptor {
    fn new(media_type: &str, digest: &[u8; 32], size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), format_digest(digest));
        Self { media_type, digest, size, platform: None, annotations: serde_json::Map::new() }
    }

    fn of(document: &Document, media_type: &str) -> Self {
        let media_type = document.media_type.as_deref().unwrap_or(media_type);
        Self::new(media_type, &document.digest, document.text.len() as u64)
    }

    /// Returns the same descriptor with the annotations that name an image.
    fn named(&self, tag: &Reference, layout: Layout) -> Self {
        let mut named = self.clone();
        let mut annotate = |key: &str, value: String| named.annotations.insert(key.to_owned(), value.into());
        match layout {
            // podman takes its name from this annotation alone.
            Layout::OciManifests => annotate(REF_NAME, tag.canonical()),
            Layout::Docker | Layout::OciIndexes => annotate(REF_NAME, tag.tag().to_owned()),
        };
        annotate(IMAGE_NAME, tag.canonical());
        named
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

fn write_oci(members: &mut MemberWriter, selected: &[Selected<'_>], layout: Layout) -> Result<Vec<Image>, Error> {
    let mut descriptors = Vec::new();
    let mut listed = Vec::new();
    for one in selected {
        let mut manifests = Vec::new();
        for image in &one.images {
            members.blob(&image.config);
            let manifest = match &image.manifest {
                Some(manifest) => manifest.clone(),
                None => make_manifest(image)?,
            };
            members.blob(&manifest);
            let mut descriptor = Descriptor::of(&manifest, OCI_MANIFEST);
            let platform = &image.platform;
            descriptor.platform = (!platform.is_unknown()).then(|| DescriptorPlatform {
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
            });
            manifests.push((descriptor, manifest.digest));
        }
        let keeps_index = layout == Layout::OciIndexes && !one.root.indexes.is_empty();
        let (top, id) = match one.root.indexes.first() {
            Some(index) if keeps_index => {
                one.root.indexes.iter().for_each(|index| drop(members.blob(index)));
                if one.is_all {
                    one.root.attachments.iter().for_each(|attachment| drop(members.blob(attachment)));
                }
                (Descriptor::of(index, OCI_INDEX), Some(index.digest))
            }
            _ if manifests.len() > 1 => {
                let manifests = manifests.iter().map(|(descriptor, _)| descriptor.clone()).collect();
                let index = make_document(&Index { schema_version: 2, media_type: OCI_INDEX, manifests });
                members.blob(&index);
                (Descriptor::of(&index, OCI_INDEX), Some(index.digest))
            }
            _ => match manifests.first() {
                Some((descriptor, digest)) => (descriptor.clone(), Some(*digest)),
                None => continue,
            },
        };
        listed.extend(one.images.iter().map(|image| image.list(&one.tags, id)));
        match one.tags.is_empty() {
            true => descriptors.push(top),
            false => descriptors.extend(one.tags.iter().map(|tag| top.named(tag, layout))),
        }
    }
    members.json("index.json", &Index { schema_version: 2, media_type: OCI_INDEX, manifests: descriptors });
    members.member("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    Ok(listed)
}

/// Makes the manifest of an image that came without one.
fn make_manifest(image: &ImageContent) -> Result<Document, Error> {
    let config = Descriptor::new(OCI_CONFIG, &image.config.digest, image.config.text.len() as u64);
    let layer = |layer: &ImageLayer| {
        let blob = layer.blob.filter(|blob| blob.place.is_some()).ok_or_else(|| {
            Error::Unexpected(format!("{}: a layer was skipped that this engine needs", format_digest(&layer.diff_id)))
        })?;
        let suffix = match blob.compression {
            Some(Compression::Gzip) => "+gzip",
            Some(Compression::Zstd) => "+zstd",
            Some(Compression::Other(_)) | None => "",
        };
        Ok(Descriptor::new(&format!("{OCI_LAYER}{suffix}"), &blob.digest, blob.size))
    };
    let layers = image.layers.iter().map(layer).collect::<Result<_, Error>>()?;
    Ok(make_document(&Manifest { schema_version: 2, media_type: OCI_MANIFEST, config, layers }))
}

fn make_document(value: &impl Serialize) -> Document {
    let text = to_json(value);
    Document { digest: Sha256::digest(&text).into(), text: text.into(), media_type: None }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // These types have no map with other keys than texts, and no failing serializer.
    serde_json::to_vec(value).unwrap_or_default()
}
