//! `index.json`: the OCI image layout (OCI image-spec 1.1, image-layout).

use crate::contents::{Contents, Found};
use crate::manifest::{Config, Held, check_layer};
use crate::name::{digits, familiar};
use crate::{Error, Image, Layer};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// How deep indexes may stand in indexes.
const DEPTH_MAX: usize = 4;

/// What the layout holds.
pub(crate) struct Index {
    pub(crate) images: Vec<Image>,
    /// All names, as people write them.
    pub(crate) names: BTreeSet<String>,
}

impl Index {
    /// What the layout has of the image with this config.
    pub(crate) fn image(&self, config: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.config.as_deref() == Some(config))
    }
}

#[derive(Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// An index or a manifest: one has `manifests`, the other `config` and `layers`.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Reads the layout and checks that everything it names is there; `None` where
/// there is no `index.json`.
///
/// # Errors
/// Whatever is missing or does not match.
pub(crate) fn read(contents: &Contents, held: &Held) -> Result<Option<Index>, Error> {
    if let Some(layout) = held.json::<Layout>("oci-layout")?
        && !layout.version.starts_with("1.")
    {
        return Err(Error::Unsupported(format!("oci-layout: version {} of the layout", layout.version)));
    }
    let Some(top) = held.json::<Document>("index.json")? else { return Ok(None) };
    let mut index = Index { images: Vec::new(), names: BTreeSet::new() };
    for descriptor in top.manifests.unwrap_or_default() {
        let name = name_of(&descriptor);
        index.names.extend(name.iter().map(|name| familiar(name, true)));
        let label = name.clone().unwrap_or_else(|| descriptor.digest.clone());
        let mut found = Vec::new();
        collect(contents, &descriptor, &label, DEPTH_MAX, &mut found)?;
        for mut image in found {
            image.manifest = Some(descriptor.digest.clone());
            match index.images.iter_mut().find(|known| known.config == image.config) {
                Some(known) => known.tags.extend(name.clone()),
                None => {
                    image.tags.extend(name.clone());
                    index.images.push(image);
                }
            }
        }
    }
    Ok(Some(index))
}

fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations.as_ref()?;
    let full = annotations.get("io.containerd.image.name");
    let short = || annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
    full.or_else(short).filter(|name| !name.contains('@')).cloned()
}

/// The images below `descriptor`. In an index in the index, manifests of other
/// platforms may be absent, but not all of them.
fn collect(
    contents: &Contents,
    descriptor: &Descriptor,
    label: &str,
    depth: usize,
    found: &mut Vec<Image>,
) -> Result<(), Error> {
    let member = blob(contents, descriptor, label)?;
    let document: Document = contents.json(&member)?;
    if let Some(manifests) = document.manifests {
        // Which of both counts depends on the reader.
        if document.config.is_some() || document.layers.is_some() {
            return Err(Error::malformed(&member, "an index and a manifest at once"));
        }
        if depth == 0 {
            return Err(Error::malformed(&member, "an index in an index in an index"));
        }
        let before = found.len();
        for inner in &manifests {
            let is_there =
                digits(&inner.digest).is_some_and(|digits| contents.file(&format!("blobs/sha256/{digits}")).is_some());
            if is_there {
                collect(contents, inner, label, depth - 1, found)?;
            }
        }
        if found.len() == before {
            let what = "a manifest of any platform".to_owned();
            return Err(Error::Missing { image: label.to_owned(), what });
        }
        return Ok(());
    }
    let config = document.config.ok_or_else(|| Error::malformed(&member, "no config"))?;
    let config_member = blob(contents, &config, label)?;
    let layers = document.layers.unwrap_or_default();
    // What stands beside an image, such as an attestation, has a config of
    // another kind and no layers in the sense meant here.
    let diff_ids = contents.json::<Config>(&config_member).ok().and_then(|config| config.rootfs.diff_ids);
    let beside = is_attestation(descriptor);
    let mut known = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let diff_id = diff_ids.as_ref().filter(|ids| ids.len() == layers.len()).and_then(|ids| ids.get(at));
        let digest = Some(layer.digest.clone());
        let name = format!("blobs/sha256/{}", digits(&layer.digest).unwrap_or_default());
        if let Found::LeftOut = contents.layer(&name, &layer.digest)? {
            known.push(Layer { diff_id: diff_id.cloned(), digest, size: layer.size });
            continue;
        }
        let member = blob(contents, layer, label)?;
        if let (Some(diff_id), Some((_, file)), false) = (diff_id, contents.file(&member), beside) {
            check_layer(&member, file, diff_id)?;
        }
        let size = contents.file(&member).map(|(_, file)| file.size);
        known.push(Layer { diff_id: diff_id.cloned(), digest, size });
    }
    if !beside {
        found.push(Image { config: Some(config.digest), manifest: None, tags: Vec::new(), layers: known });
    }
    Ok(())
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    let kind = descriptor.annotations.as_ref().and_then(|known| known.get("vnd.docker.reference.type"));
    kind.is_some_and(|kind| kind == "attestation-manifest")
}

/// The member that holds what `descriptor` names; its digest was checked as it
/// passed.
fn blob(contents: &Contents, descriptor: &Descriptor, label: &str) -> Result<String, Error> {
    let missing = || Error::Missing { image: label.to_owned(), what: descriptor.digest.clone() };
    let member = format!("blobs/sha256/{}", digits(&descriptor.digest).ok_or_else(missing)?);
    let (_, file) = contents.file(&member).ok_or_else(missing)?;
    match descriptor.size {
        Some(size) if size != file.size => {
            Err(Error::malformed(&member, format!("has {} bytes, promised were {size}", file.size)))
        }
        _ => Ok(member),
    }
}
