//! The model of an archive: images whose every digest was checked, independent of the
//! layout that they came in.

use crate::compression::Compression;
use crate::docker_layout;
use crate::members::{LayerPlace, Members};
use crate::names::format_digest;
use crate::oci_layout;
use crate::{Error, Image, Layer, Platform, Reference};
use std::collections::HashMap;
use std::sync::Arc;

/// A complete archive.
#[derive(Debug)]
pub struct Archive {
    /// What the archive names, in its order.
    pub roots: Vec<Root>,
    /// Number of bytes of the archive, uncompressed.
    pub len: u64,
    /// Number of layers that were skipped.
    pub skipped: u64,
    /// Number of their bytes.
    pub skipped_len: u64,
}

/// One thing that an archive names: an image, or an index of images for several
/// platforms.
#[derive(Debug)]
pub struct Root {
    /// The names, without duplicates.
    pub(crate) tags: Vec<Reference>,
    /// The indexes, outermost first; empty if the root is an image.
    pub(crate) indexes: Vec<Document>,
    /// The images, one for each platform.
    pub(crate) candidates: Vec<Candidate>,
    /// Manifests without an image, such as attestations, with all they refer to, as far
    /// as it is in the archive.
    pub(crate) attachments: Vec<Document>,
}

/// An image for one platform, or why it cannot be loaded.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) platform: Platform,
    pub(crate) content: Result<ImageContent, Error>,
}

/// A JSON document that is passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) digest: [u8; 32],
    pub(crate) text: Arc<[u8]>,
    pub(crate) media_type: Option<String>,
}

/// A verified image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageContent {
    pub(crate) config: Document,
    /// The OCI manifest, if there is one.
    pub(crate) manifest: Option<Document>,
    pub(crate) layers: Vec<ImageLayer>,
    pub(crate) platform: Platform,
}

/// A verified layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageLayer {
    pub(crate) diff_id: [u8; 32],
    /// The stored blob; `None` if the engine has the layer and the archive does not name
    /// its digest.
    pub(crate) blob: Option<LayerBlob>,
}

/// The stored bytes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerBlob {
    pub(crate) digest: [u8; 32],
    pub(crate) size: u64,
    pub(crate) compression: Option<Compression>,
    /// Its place in the archive; `None` if it was skipped.
    pub(crate) place: Option<LayerPlace>,
}

impl Root {
    /// Returns the name for messages.
    pub(crate) fn label(&self) -> String {
        let id = || {
            let content = self.candidates.iter().find_map(|candidate| candidate.content.as_ref().ok());
            self.top_digest()
                .or(content.map(|content| content.config.digest))
                .map_or_else(|| "an image without a name".to_owned(), |digest| format_digest(&digest))
        };
        self.tags.first().map_or_else(id, ToString::to_string)
    }

    /// Returns the digest of the index or manifest that the layout names first.
    pub(crate) fn top_digest(&self) -> Option<[u8; 32]> {
        if let Some(index) = self.indexes.first() {
            return Some(index.digest);
        }
        let manifest = |candidate: &Candidate| Some(candidate.content.as_ref().ok()?.manifest.as_ref()?.digest);
        match self.candidates.as_slice() {
            [candidate] => manifest(candidate),
            _ => None,
        }
    }

    fn has_config(&self, config: &[u8; 32]) -> bool {
        self.candidates.iter().any(|candidate| candidate.content.as_ref().is_ok_and(|c| c.config.digest == *config))
    }

    fn add_tags(&mut self, tags: impl IntoIterator<Item = Reference>) {
        for tag in tags {
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
    }
}

impl ImageContent {
    /// Returns the digest of the config.
    pub fn id(&self) -> String {
        format_digest(&self.config.digest)
    }

    /// Returns the image as a header lists it.
    pub(crate) fn list(&self, tags: &[Reference], manifest: Option<[u8; 32]>) -> Image {
        let layer = |layer: &ImageLayer| Layer {
            diff_id: Some(format_digest(&layer.diff_id)),
            digest: layer.blob.map(|blob| format_digest(&blob.digest)),
            size: layer.blob.map(|blob| blob.size),
        };
        Image {
            config: Some(self.id()),
            manifest: manifest.map(|digest| format_digest(&digest)),
            platform: (!self.platform.is_unknown()).then(|| self.platform.to_string()),
            tags: tags.iter().map(ToString::to_string).collect(),
            layers: self.layers.iter().map(layer).collect(),
        }
    }
}

impl Archive {
    /// Lists the images of the archive, as they are recorded at sealing. Images of which a
    /// part is missing are not listed if their index has another image.
    ///
    /// # Errors
    /// The first reason why an image cannot be loaded anywhere.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let mut images: Vec<Image> = Vec::new();
        for root in &self.roots {
            let listed = images.len();
            for candidate in &root.candidates {
                match &candidate.content {
                    Ok(content) => {
                        images.push(content.list(&root.tags, root.top_digest().or(content.manifest_digest())))
                    }
                    Err(Error::Missing { .. }) if root.candidates.len() > 1 => {}
                    Err(error) => return Err(error.restated()),
                }
            }
            if images.len() == listed {
                let what = "an image with all of its layers".to_owned();
                return Err(Error::Missing { image: root.label(), what });
            }
        }
        Ok(images)
    }

    /// Returns the compressions of the layers.
    pub fn compressions(&self) -> impl Iterator<Item = Compression> {
        let contents = self.roots.iter().flat_map(|root| &root.candidates).filter_map(|c| c.content.as_ref().ok());
        contents.flat_map(|content| &content.layers).filter_map(|layer| layer.blob?.compression)
    }
}

impl ImageContent {
    pub(crate) fn manifest_digest(&self) -> Option<[u8; 32]> {
        self.manifest.as_ref().map(|manifest| manifest.digest)
    }
}

/// Builds the model from the members of an archive.
///
/// # Errors
/// [`Error::NotArchive`] if no document names images; those of the documents.
pub(crate) fn roots(members: &Members) -> Result<Vec<Root>, Error> {
    for name in crate::reader::NAMED_DOCUMENTS {
        if members.is_link(name) {
            return Err(Error::malformed(name, "is no file"));
        }
    }
    let entries = docker_layout::entries(members)?;
    let index = oci_layout::roots(members)?;
    let repositories = docker_layout::repositories(members)?;
    let roots = match (entries, index) {
        (Some(entries), None) => docker_layout::roots(members, entries)?,
        (None, Some(roots)) => roots,
        (Some(entries), Some(roots)) => {
            check_agreement(members, &entries, &roots)?;
            roots
        }
        (None, None) if repositories.is_some() => {
            return Err(Error::Unsupported("an archive of Docker before 1.10, without manifest.json".to_owned()));
        }
        (None, None) => {
            return Err(Error::NotArchive { looks_like: "a tar archive without manifest.json and index.json" });
        }
    };
    let roots = merge(roots);
    if roots.is_empty() {
        return Err(Error::malformed("the archive", "names no image"));
    }
    check_tags(&roots)?;
    check_repositories(&roots, repositories.as_ref())?;
    Ok(roots)
}

/// Checks that `manifest.json` and `index.json` name the same images: engines read
/// one of them.
fn check_agreement(members: &Members, entries: &[docker_layout::Entry], roots: &[Root]) -> Result<(), Error> {
    let all = all_tags(entries)?;
    for entry in entries {
        let config = docker_layout::config_digest(members, entry)?;
        let tags = entry.tags()?;
        let mut same = roots.iter().filter(|root| root.has_config(&config)).peekable();
        if same.peek().is_none() {
            // Why the image of the index is unusable is the better message.
            if let Some(error) = roots.iter().flat_map(|root| &root.candidates).find_map(|c| c.content.as_ref().err()) {
                return Err(error.restated());
            }
            return Err(Error::malformed("index.json", format_args!("does not name {}", entry.label())));
        }
        let named: Vec<&Reference> = same.flat_map(|root| &root.tags).collect();
        // `docker save` of some versions writes an index without names.
        if named.is_empty() && roots.iter().all(|root| root.tags.is_empty()) {
            if tags.is_empty() {
                continue;
            }
            return Err(Error::malformed("index.json", format_args!("has no name for {}", entry.label())));
        }
        if let Some(tag) = tags.iter().find(|tag| !named.contains(tag)) {
            return Err(Error::malformed("manifest.json", format_args!("{tag} is not in index.json")));
        }
        if let Some(tag) = named.iter().find(|tag| !all.contains(tag)) {
            return Err(Error::malformed("index.json", format_args!("{tag} is not in manifest.json")));
        }
    }
    Ok(())
}

fn all_tags(entries: &[docker_layout::Entry]) -> Result<Vec<Reference>, Error> {
    entries.iter().map(docker_layout::Entry::tags).collect::<Result<Vec<_>, _>>().map(|tags| tags.concat())
}

/// Makes one root of those with the same content: one image in several entries is one
/// image with all its tags.
fn merge(roots: Vec<Root>) -> Vec<Root> {
    let mut merged: Vec<Root> = Vec::new();
    for root in roots {
        let is_same = |other: &&mut Root| match (root.top_digest(), other.top_digest()) {
            (None, None) => match (root.candidates.as_slice(), other.candidates.as_slice()) {
                ([one], [other]) => matches!((&one.content, &other.content), (Ok(one), Ok(other)) if one == other),
                _ => false,
            },
            (one, other) => one == other,
        };
        match merged.iter_mut().find(is_same) {
            Some(known) => known.add_tags(root.tags),
            None => merged.push(root),
        }
    }
    merged
}

/// Checks that no tag names two images.
fn check_tags(roots: &[Root]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (index, root) in roots.iter().enumerate() {
        for tag in &root.tags {
            if seen.insert(tag, index).is_some_and(|other| other != index) {
                return Err(Error::malformed(&tag.to_string(), "names two images"));
            }
        }
    }
    Ok(())
}

/// Checks that `repositories` has the same names, if it has any.
fn check_repositories(roots: &[Root], repositories: Option<&docker_layout::Repositories>) -> Result<(), Error> {
    let tags: Vec<&Reference> = roots.iter().flat_map(|root| &root.tags).collect();
    let mut also = Vec::new();
    for (name, tag) in
        repositories.into_iter().flatten().flat_map(|(name, tags)| tags.keys().map(move |tag| (name, tag)))
    {
        also.push(parse_tag("repositories", &format!("{name}:{tag}"))?);
    }
    if also.is_empty() {
        return Ok(());
    }
    if let Some(tag) = also.iter().find(|tag| !tags.contains(tag)) {
        return Err(Error::malformed("repositories", format_args!("{tag} is in no other list of names")));
    }
    match tags.iter().find(|tag| !also.contains(tag)) {
        Some(tag) => Err(Error::malformed("repositories", format_args!("{tag} is missing"))),
        None => Ok(()),
    }
}

/// Parses a name in `document`.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn parse_tag(document: &str, text: &str) -> Result<Reference, Error> {
    Reference::parse(text).map_err(|why| Error::malformed(document, format_args!("{text:?} is no tag: {why}")))
}

impl Error {
    /// Returns the same error again: an image's error is kept in the model.
    pub(crate) fn restated(&self) -> Self {
        match self {
            Self::Missing { image, what } => Self::Missing { image: image.clone(), what: what.clone() },
            Self::Digest { member, expected, actual } => {
                Self::Digest { member: member.clone(), expected: expected.clone(), actual: actual.clone() }
            }
            Self::Unsupported(text) => Self::Unsupported(text.clone()),
            Self::Unexpected(text) => Self::Unexpected(text.clone()),
            Self::Malformed { member, why } => Self::Malformed { member: member.clone(), why: why.clone() },
            other => Self::malformed("the archive", other),
        }
    }
}
