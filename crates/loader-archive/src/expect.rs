//! The images that were recorded at sealing, to compare with.

use crate::{Error, Image, Reference};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The images that a sealed header lists.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Expected {
    /// The images.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Whether the header was verified with a key, if that is known.
    #[serde(default)]
    pub verified: Option<bool>,
    /// Number of bytes of the plaintext of the sealed stream, if that is known.
    #[serde(default)]
    pub plaintext_size: Option<u64>,
    /// Number of bytes of the content, if the plaintext is packed.
    #[serde(default)]
    pub content_size: Option<u64>,
}

impl Expected {
    /// Returns the number of bytes of the archive, if it is known.
    pub fn archive_len(&self) -> Option<u64> {
        self.content_size.or(self.plaintext_size)
    }

    /// Parses the output of `az-inspect`, or a bare list of images as in field 06 of a
    /// header.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is neither, or lists no image.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let malformed = |error: serde_json::Error| Error::malformed("the list of images", error);
        let is_list = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let expected = match is_list {
            true => Self { images: serde_json::from_slice(text).map_err(malformed)?, ..Self::default() },
            false => serde_json::from_slice(text).map_err(malformed)?,
        };
        match expected.images.is_empty() {
            true => Err(Error::malformed("the list of images", "it is empty: none was recorded at sealing")),
            false => Ok(expected),
        }
    }
}

/// Compares the images `found` in an archive with those `expected`, as sets: nothing
/// missing, nothing more.
///
/// # Errors
/// [`Error::Unexpected`] for the first difference.
pub fn compare(found: &[Image], expected: &[Image]) -> Result<(), Error> {
    let mut left: Vec<&Image> = found.iter().collect();
    for image in expected {
        let same = left.iter().position(|other| has_same_id(other, image) && difference(other, image).is_none());
        match same {
            Some(index) => drop(left.swap_remove(index)),
            None => {
                let similar = left.iter().find(|other| has_same_id(other, image));
                let why = match similar.and_then(|other| difference(other, image)) {
                    Some(why) => why,
                    None => format!("{}: not in the archive with the id that was sealed", image.label()),
                };
                return Err(Error::Unexpected(why));
            }
        }
    }
    match left.first() {
        Some(image) => Err(Error::Unexpected(format!("{}: in the archive, but not sealed", image.label()))),
        None => Ok(()),
    }
}

/// Returns true if the ids that both lists know are equal, and they know one.
fn has_same_id(one: &Image, other: &Image) -> bool {
    match (known(&one.config, &other.config), known(&one.manifest, &other.manifest)) {
        (None, None) => one.tags == other.tags,
        (config, manifest) => config.is_none_or(|(a, b)| a == b) && manifest.is_none_or(|(a, b)| a == b),
    }
}

fn known<'a, T>(one: &'a Option<T>, other: &'a Option<T>) -> Option<(&'a T, &'a T)> {
    one.as_ref().zip(other.as_ref())
}

/// Describes what differs beside the ids.
fn difference(found: &Image, expected: &Image) -> Option<String> {
    let names = |image: &Image| -> BTreeSet<String> {
        let name = |tag: &String| Reference::parse(tag).map_or_else(|_| tag.clone(), |name| name.to_string());
        image.tags.iter().map(name).collect()
    };
    let (tags, expected_tags) = (names(found), names(expected));
    if tags != expected_tags {
        let list = |tags: BTreeSet<String>| {
            let list = tags.into_iter().collect::<Vec<_>>().join(", ");
            if list.is_empty() { "none".to_owned() } else { list }
        };
        return Some(format!("the archive has the tags {}, sealed were {}", list(tags), list(expected_tags)));
    }
    let digests = |image: &Image| image.layers.iter().map(|layer| layer.digest.clone()).collect::<Option<Vec<_>>>();
    let differs = |one: Option<Vec<_>>, other: Option<Vec<_>>| one.zip(other).is_some_and(|(one, other)| one != other);
    let diff_ids = |image: &Image| image.diff_ids().map(|ids| ids.iter().map(|id| Some((*id).to_owned())).collect());
    let stored = |image: &Image| digests(image).map(|all| all.into_iter().map(Some).collect::<Vec<_>>());
    let is_listed = !found.layers.is_empty() && !expected.layers.is_empty();
    if is_listed && (differs(diff_ids(found), diff_ids(expected)) || differs(stored(found), stored(expected))) {
        return Some(format!("{}: not the layers that were sealed", expected.label()));
    }
    if known(&found.platform, &expected.platform).is_some_and(|(one, other)| one != other) {
        return Some(format!("{}: not for the platform that was sealed", expected.label()));
    }
    None
}
