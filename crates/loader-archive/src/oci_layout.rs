//! `index.json`: the OCI image layout (OCI image specification 1.1, `image-layout.md`).

use crate::image_config::{self, check_layer};
use crate::members::{Found, Members};
use crate::model::{Candidate, Document, ImageContent, ImageLayer, LayerBlob, Root, parse_tag};
use crate::names::{format_digest, parse_digest};
use crate::strict_json::{self, OCI_DOCUMENT, null_is_empty};
use crate::{Error, Platform, Reference};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Maximum number of descriptors of indexes and manifests that are followed. An index
/// may name another one many times.
const DESCRIPTORS_MAX: usize = 4096;

/// Maximum number of indexes inside each other.
const DEPTH_MAX: usize = 4;

/// Annotation of containerd with the whole name of an image.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Annotation of the OCI layout with a name or only a tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Media types of indexes.
const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// Media types of manifests.
const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

#[derive(Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

/// An index or a manifest: one has `manifests`, the other `config` and `layers`.
#[derive(Deserialize)]
struct IndexOrManifest {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Builds the model of the layout; `None` if there is no `index.json`.
///
/// # Errors
/// Whatever is wrong with the index or a name. What is wrong with an image is kept with
/// it.
pub(crate) fn roots(members: &Members) -> Result<Option<Vec<Root>>, Error> {
    if let Some(layout) = named::<Layout>(members, "oci-layout")?
        && layout.version != "1.0.0"
    {
        return Err(Error::Unsupported(format!("oci-layout: version {:?} of the layout", layout.version)));
    }
    let Some(top) = named::<IndexOrManifest>(members, "index.json")? else { return Ok(None) };
    let mut roots: Vec<Root> = Vec::new();
    // Images of one name for several platforms are one root, as if an index held them.
    let mut groups: Vec<(Option<Reference>, usize)> = Vec::new();
    let mut followed = 0;
    for descriptor in top.manifests.unwrap_or_default() {
        let name = name_of(&descriptor)?;
        let mut root = Root {
            tags: name.iter().cloned().collect(),
            indexes: Vec::new(),
            candidates: Vec::new(),
            attachments: Vec::new(),
        };
        let label = name.as_ref().map_or_else(|| descriptor.digest.clone(), ToString::to_string);
        collect(members, &descriptor, &label, DEPTH_MAX, &mut followed, &mut root)?;
        if root.candidates.is_empty() {
            continue;
        }
        let is_single = root.indexes.is_empty() && root.candidates.len() == 1;
        let group = groups.iter().find(|(other, at)| {
            *other == name && is_single && roots.get(*at).is_some_and(|known| is_another_platform(known, &root))
        });
        match group.map(|(_, at)| *at).and_then(|at| roots.get_mut(at)) {
            Some(known) => known.candidates.append(&mut root.candidates),
            None => {
                if is_single {
                    groups.push((name, roots.len()));
                }
                roots.push(root);
            }
        }
    }
    Ok(Some(roots))
}

/// Returns true if the image of `root` is for a platform that `known` has no image for.
fn is_another_platform(known: &Root, root: &Root) -> bool {
    root.candidates.iter().all(|new| {
        !new.platform.is_unknown()
            && known.candidates.iter().all(|old| !old.platform.is_unknown() && old.platform != new.platform)
    })
}

fn named<T: serde::de::DeserializeOwned>(members: &Members, name: &str) -> Result<Option<T>, Error> {
    let Some(blob) = members.by_name(name)? else { return Ok(None) };
    strict_json::parse(name, members.document(name, blob)?, OCI_DOCUMENT).map(Some)
}

/// Returns the image name in the annotations of a descriptor. A text without `:` and
/// `/` in the annotation of the OCI layout is only a tag, which names nothing alone.
fn name_of(descriptor: &Descriptor) -> Result<Option<Reference>, Error> {
    let short = || descriptor.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    let text = descriptor.annotations.get(IMAGE_NAME).or_else(short).filter(|name| !name.contains('@'));
    text.map(|text| parse_tag("index.json", text)).transpose()
}

/// Collects the images below `descriptor`.
fn collect(
    members: &Members,
    descriptor: &Descriptor,
    label: &str,
    depth: usize,
    followed: &mut usize,
    root: &mut Root,
) -> Result<(), Error> {
    *followed += 1;
    if *followed > DESCRIPTORS_MAX {
        return Err(Error::Unsupported(format!("index.json: more than {DESCRIPTORS_MAX} manifests")));
    }
    let is_attestation = descriptor.annotations.contains_key("vnd.docker.reference.type");
    let declared = descriptor.platform.clone().unwrap_or_default().normalized();
    let mut document = match document(members, descriptor, label) {
        Ok(document) => document,
        // Another platform's manifest may be absent.
        Err(error @ (Error::Missing { .. } | Error::Unsupported(_))) if !root.indexes.is_empty() => {
            if !is_attestation {
                root.candidates.push(Candidate { platform: declared, content: Err(error) });
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let member = member_of(&document.digest);
    let parsed: IndexOrManifest = strict_json::parse(&member, &document.text, OCI_DOCUMENT)?;
    if let Some(manifests) = parsed.manifests {
        // Which of both counts depends on the reader.
        if parsed.config.is_some() || parsed.layers.is_some() {
            return Err(Error::malformed(&member, "is an index and a manifest"));
        }
        if depth == 0 {
            return Err(Error::malformed(&member, "has too many indexes inside each other"));
        }
        document.media_type = media_type(descriptor, INDEX_TYPES);
        if document.media_type.is_none() && !root.indexes.is_empty() {
            return Err(wrong_type(&member, descriptor, "an index"));
        }
        root.indexes.push(document);
        return manifests.iter().try_for_each(|inner| collect(members, inner, label, depth - 1, followed, root));
    }
    let config = parsed.config.ok_or_else(|| Error::malformed(&member, "has no config"))?;
    let layers = parsed.layers.unwrap_or_default();
    document.media_type = media_type(descriptor, MANIFEST_TYPES);
    // An engine takes whatever is for its platform for an image.
    let is_attachment = declared.is_unknown() && (is_attestation || !is_image_config(&config));
    if is_attachment && (descriptor.platform.is_some() || root.indexes.is_empty()) {
        attach(members, document, &config, &layers, root);
        return Ok(());
    }
    let content = match document.media_type.is_none() && !root.indexes.is_empty() {
        true => Err(wrong_type(&member, descriptor, "a manifest")),
        false => image(members, document, &config, &layers, label),
    };
    let actual = content.as_ref().map(|content| content.platform.clone()).unwrap_or_default();
    let platform = if declared.is_unknown() { actual } else { declared };
    // Without a platform in its descriptor, engines use that of its config.
    if is_attachment && content.is_err() {
        return Ok(());
    }
    root.candidates.push(Candidate { platform, content });
    Ok(())
}

/// Returns the media type of a descriptor if it is one of `known`: engines decide by it
/// what a document is.
fn media_type(descriptor: &Descriptor, known: [&str; 2]) -> Option<String> {
    descriptor.media_type.clone().filter(|text| known.contains(&text.as_str()))
}

/// Returns the error for a descriptor inside an index. Unlike that of an index.json, it
/// is passed on unchanged.
fn wrong_type(member: &str, descriptor: &Descriptor, kind: &str) -> Error {
    let text = descriptor.media_type.as_deref().unwrap_or_default();
    Error::malformed(member, format_args!("is {kind}, but its descriptor has the media type {text:?}"))
}

/// Returns true for the media types of image configs. Descriptors of some tools have
/// none.
fn is_image_config(config: &Descriptor) -> bool {
    let kind = config.media_type.as_deref().unwrap_or_default();
    kind.is_empty()
        || kind == "application/vnd.oci.image.config.v1+json"
        || kind.starts_with("application/vnd.docker.container.image.")
}

/// Keeps a manifest that is no image, and the documents that it refers to.
fn attach(members: &Members, manifest: Document, config: &Descriptor, layers: &[Descriptor], root: &mut Root) {
    root.attachments.push(manifest);
    let refers = |descriptor: &Descriptor| document(members, descriptor, "an attestation").ok();
    root.attachments.extend(std::iter::once(config).chain(layers).filter_map(refers));
}

fn image(
    members: &Members,
    manifest: Document,
    config: &Descriptor,
    layers: &[Descriptor],
    label: &str,
) -> Result<ImageContent, Error> {
    let config = document(members, config, label)?;
    let parsed = image_config::parse(&member_of(&config.digest), &config.text)?;
    if layers.len() != parsed.diff_ids.len() {
        let why = format!("{label} has {} layers, its config has {}", layers.len(), parsed.diff_ids.len());
        return Err(Error::malformed(&member_of(&manifest.digest), why));
    }
    let mut verified = Vec::with_capacity(layers.len());
    for (layer, diff_id) in layers.iter().zip(&parsed.diff_ids) {
        let digest = parse_digest(&member_of(&manifest.digest), &layer.digest)?;
        let blob = match members.layer_by_digest(&digest) {
            Found::Blob(blob) => {
                let (compression, place) = check_layer(&member_of(&digest), blob, diff_id)?;
                check_size(layer, blob.size)?;
                LayerBlob { digest, size: blob.size, compression, place: Some(place) }
            }
            Found::Present => LayerBlob { digest, size: layer.size.unwrap_or(0), compression: None, place: None },
            Found::Nothing => {
                members.by_name(&member_of(&digest))?;
                return Err(Error::Missing { image: label.to_owned(), what: layer.digest.clone() });
            }
        };
        verified.push(ImageLayer { diff_id: *diff_id, blob: Some(blob) });
    }
    Ok(ImageContent { config, manifest: Some(manifest), layers: verified, platform: parsed.platform })
}

/// Returns the document that a descriptor describes.
fn document(members: &Members, descriptor: &Descriptor, label: &str) -> Result<Document, Error> {
    let digest = parse_digest(label, &descriptor.digest)?;
    let missing = || Error::Missing { image: label.to_owned(), what: descriptor.digest.clone() };
    // Why a member of that name is unusable is the better message.
    let blob = match members.by_digest(&digest) {
        Some(blob) => blob,
        None => members.by_name(&member_of(&digest))?.ok_or_else(missing)?,
    };
    if blob.digest != digest {
        return Err(missing());
    }
    check_size(descriptor, blob.size)?;
    let text = members.document(&member_of(&digest), blob)?;
    Ok(Document { digest, text: text.clone(), media_type: descriptor.media_type.clone() })
}

fn check_size(descriptor: &Descriptor, actual: u64) -> Result<(), Error> {
    match descriptor.size {
        Some(expected) if expected != actual => Err(Error::malformed(
            &descriptor.digest,
            format_args!("has {actual} bytes, its descriptor says {expected}"),
        )),
        _ => Ok(()),
    }
}

/// Returns the usual name of a blob.
fn member_of(digest: &[u8; 32]) -> String {
    format_digest(digest).replace("sha256:", "blobs/sha256/")
}
