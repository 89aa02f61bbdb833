//! `manifest.json` and `repositories`: the layout of `docker save`.

use crate::image_config::{self, check_layer};
use crate::members::{Blob, Found, Members};
use crate::model::{Candidate, Document, ImageContent, ImageLayer, LayerBlob, Root, parse_tag};
use crate::strict_json::{self, DOCKER_MANIFEST, null_is_empty};
use crate::{Error, Reference};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Maximum number of images and of tags.
const NAMES_MAX: usize = 4096;

/// `repositories`: layer ids by tag, by name.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    config: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<String>,
}

impl Entry {
    /// Returns the name for messages.
    pub(crate) fn label(&self) -> &str {
        self.repo_tags.first().unwrap_or(&self.config)
    }

    /// Parses the tags.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(crate) fn tags(&self) -> Result<Vec<Reference>, Error> {
        let mut tags = Vec::new();
        for text in &self.repo_tags {
            let tag = parse_tag("manifest.json", text)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }
}

/// Reads `manifest.json`; `None` if there is none, or if it is a file of another kind, as
/// browser extensions and PWAs have one.
///
/// # Errors
/// [`Error::Malformed`], [`Error::Unsupported`].
pub(crate) fn entries(members: &Members) -> Result<Option<Vec<Entry>>, Error> {
    const NAME: &str = "manifest.json";
    let Some(blob) = members.by_name(NAME)? else { return Ok(None) };
    let text = members.document(NAME, blob)?;
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Ok(None);
    }
    let entries: Vec<Entry> = strict_json::parse(NAME, text, DOCKER_MANIFEST)?;
    let tags: usize = entries.iter().map(|entry| entry.repo_tags.len()).sum();
    match entries.len().max(tags) > NAMES_MAX {
        true => Err(Error::Unsupported(format!("{NAME}: more than {NAMES_MAX} images or tags"))),
        false => Ok(Some(entries)),
    }
}

/// Reads `repositories`: names, tags and layers. The value of `None` is none.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn repositories(members: &Members) -> Result<Option<Repositories>, Error> {
    const NAME: &str = "repositories";
    let Some(blob) = members.by_name(NAME)? else { return Ok(None) };
    strict_json::parse(NAME, members.document(NAME, blob)?, &[]).map(Some)
}

/// Returns the digest of the config that an entry names.
///
/// # Errors
/// [`Error::Missing`].
pub(crate) fn config_digest(members: &Members, entry: &Entry) -> Result<[u8; 32], Error> {
    config_blob(members, entry).map(|blob| blob.digest)
}

fn config_blob<'a>(members: &'a Members, entry: &Entry) -> Result<&'a Blob, Error> {
    let missing = || Error::Missing { image: entry.label().to_owned(), what: entry.config.clone() };
    members.by_name(&entry.config)?.ok_or_else(missing)
}

/// Builds the model of `manifest.json`.
///
/// # Errors
/// Whatever is wrong with a tag. What is wrong with an image is kept with it.
pub(crate) fn roots(members: &Members, entries: Vec<Entry>) -> Result<Vec<Root>, Error> {
    let root = |entry: Entry| {
        let tags = entry.tags()?;
        let content = image(members, &entry);
        let platform = content.as_ref().map(|content| content.platform.clone()).unwrap_or_default();
        Ok(Root {
            tags,
            indexes: Vec::new(),
            candidates: vec![Candidate { platform, content }],
            attachments: Vec::new(),
        })
    };
    entries.into_iter().map(root).collect()
}

fn image(members: &Members, entry: &Entry) -> Result<ImageContent, Error> {
    let label = entry.label();
    let blob = config_blob(members, entry)?;
    let text = members.document(&entry.config, blob)?;
    let config = image_config::parse(&entry.config, text)?;
    if entry.layers.len() != config.diff_ids.len() {
        let why = format!("{label} has {} layers, its config has {}", entry.layers.len(), config.diff_ids.len());
        return Err(Error::malformed("manifest.json", why));
    }
    let mut layers = Vec::with_capacity(entry.layers.len());
    for (path, diff_id) in entry.layers.iter().zip(&config.diff_ids) {
        layers.push(match members.layer_by_name(path, diff_id)? {
            Found::Blob(blob) => {
                let (compression, place) = check_layer(path, blob, diff_id)?;
                let blob = LayerBlob { digest: blob.digest, size: blob.size, compression, place: Some(place) };
                ImageLayer { diff_id: *diff_id, blob: Some(blob) }
            }
            Found::Present => ImageLayer { diff_id: *diff_id, blob: None },
            Found::Nothing => return Err(Error::Missing { image: label.to_owned(), what: path.clone() }),
        });
    }
    let document = Document { digest: blob.digest, text: text.clone(), media_type: None };
    Ok(ImageContent { config: document, manifest: None, layers, platform: config.platform })
}
