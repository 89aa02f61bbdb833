//! What the publisher sealed, to compare with.

use crate::name::familiar;
use crate::{Error, Image};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The images that a sealed header promises.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Expected {
    /// The images.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Whether the header was checked with a key, where that is told.
    #[serde(default)]
    pub verified: Option<bool>,
    /// Bytes of the archive, where that is told.
    #[serde(default)]
    pub plaintext_size: Option<u64>,
}

impl Expected {
    /// Reads what `az-inspect` prints, or a bare list of images as it stands in
    /// field 06 of a header.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it is neither, or names no image.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let bad = |error: serde_json::Error| Error::malformed("the list of images", error);
        let is_list = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let expected = match is_list {
            true => Self { images: serde_json::from_slice(text).map_err(bad)?, ..Self::default() },
            false => serde_json::from_slice(text).map_err(bad)?,
        };
        match expected.images.is_empty() {
            true => Err(Error::malformed("the list of images", "it is empty: none were recorded at sealing")),
            false => Ok(expected),
        }
    }
}

/// Compares the images `found` in an archive with those `expected`. With
/// `completes_locally`, for podman, `localhost/app` is the same name as `app`.
///
/// # Errors
/// [`Error::Unexpected`] for the first difference: an image too many or too few,
/// another id, other tags, other layers.
pub fn compare(found: &[Image], expected: &[Image], completes_locally: bool) -> Result<(), Error> {
    let names = |image: &Image| names(image, completes_locally);
    let same_id = |image: &Image, promised: &Image| same_id(image, promised, completes_locally);
    for promised in expected {
        let image = found.iter().find(|image| same_id(image, promised)).ok_or_else(|| {
            unexpected(format!("{}: not in the archive with the id that was sealed", promised.label()))
        })?;
        let (tags, promised_tags) = (names(image), names(promised));
        if tags != promised_tags {
            let list = |tags: BTreeSet<String>| tags.into_iter().collect::<Vec<_>>().join(", ");
            let (tags, promised_tags) = (list(tags), list(promised_tags));
            return Err(unexpected(format!("the archive has the tags {tags}, sealed were {promised_tags}")));
        }
        if promised.diff_ids().is_some_and(|promised| image.diff_ids().is_some_and(|ids| ids != promised)) {
            return Err(unexpected(format!("{}: not the layers that were sealed", promised.label())));
        }
    }
    match found.iter().find(|image| !expected.iter().any(|promised| same_id(image, promised))) {
        Some(image) => Err(unexpected(format!("{}: in the archive, but not sealed", image.label()))),
        None => Ok(()),
    }
}

fn unexpected(text: String) -> Error {
    Error::Unexpected(text)
}

/// By config, else by manifest, else by names.
fn same_id(image: &Image, promised: &Image, completes_locally: bool) -> bool {
    match (&image.config, &promised.config, &image.manifest, &promised.manifest) {
        (Some(config), Some(promised), ..) => config == promised,
        (_, _, Some(manifest), Some(promised)) => manifest == promised,
        _ => names(image, completes_locally) == names(promised, completes_locally),
    }
}

fn names(image: &Image, completes_locally: bool) -> BTreeSet<String> {
    image.tags.iter().map(|tag| familiar(tag, completes_locally)).collect()
}
