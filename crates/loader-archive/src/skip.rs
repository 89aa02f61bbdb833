//! Layers that are skipped because the engine has them.

use crate::names::{parse_digest, parse_hex};
use crate::{Image, Layer};
use std::collections::HashSet;

/// The layers to skip. They may also be absent from the archive. Nobody receives their
/// bytes, so their content is not checked: the digest in the config decides.
#[derive(Clone, Debug, Default)]
pub struct SkipLayers {
    digests: HashSet<[u8; 32]>,
    sizes: HashSet<u64>,
    len: u64,
}

impl SkipLayers {
    /// Skips the layers of `images` for which `is_present` returns true. It is called with
    /// the uncompressed digests of an image, from the lowest layer up to the one in
    /// question: an engine knows a layer only on top of those below it.
    ///
    /// A layer that several images share is skipped only if it is present for each of
    /// them. The oldest layout does not name layers by digest; a layer in it is
    /// recognised by its size, if all layers of that size are present.
    pub fn new(images: &[Image], mut is_present: impl FnMut(&[&str]) -> bool) -> Self {
        let (mut present, mut needed): (Vec<&Layer>, Vec<&Layer>) = (Vec::new(), Vec::new());
        for image in images {
            let ids = image.diff_ids().unwrap_or_default();
            for (index, layer) in image.layers.iter().enumerate() {
                let is_known = ids.len() > index && is_present(&ids[..=index]);
                if is_known { present.push(layer) } else { needed.push(layer) }
            }
        }
        let digests_of = |layer: &&Layer| -> Vec<[u8; 32]> {
            let texts = [&layer.diff_id, &layer.digest].into_iter().flatten();
            texts.filter_map(|text| parse_digest("", text).ok()).collect()
        };
        let mut digests: HashSet<[u8; 32]> = present.iter().flat_map(digests_of).collect();
        for digest in needed.iter().flat_map(digests_of) {
            digests.remove(&digest);
        }
        let mut sizes: HashSet<u64> = present.iter().filter_map(|layer| layer.size).collect();
        for size in needed.iter().filter_map(|layer| layer.size) {
            sizes.remove(&size);
        }
        if needed.iter().any(|layer| layer.size.is_none()) {
            sizes.clear();
        }
        let mut seen = HashSet::new();
        let counts = |layer: &&&Layer| {
            digests_of(layer).iter().all(|digest| digests.contains(digest)) && seen.insert(layer.diff_id.clone())
        };
        let len = present.iter().filter(counts).filter_map(|layer| layer.size).sum();
        Self { digests, sizes, len }
    }

    /// Returns the number of bytes that are skipped, as far as the sizes are known.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns true if no layer is skipped.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Returns true if the member is one of the layers to skip.
    pub(crate) fn covers(&self, member: &[u8], size: u64) -> bool {
        let Ok(member) = std::str::from_utf8(member) else { return false };
        if self.is_empty() {
            return false;
        }
        if member.ends_with("/layer.tar") {
            return self.sizes.contains(&size);
        }
        let digits = member.strip_prefix("blobs/sha256/").or_else(|| member.strip_suffix(".tar"));
        digits.and_then(parse_hex).is_some_and(|digest| self.contains(&digest))
    }

    /// Returns true if the engine has the layer with this digest, stored or uncompressed.
    pub(crate) fn contains(&self, digest: &[u8; 32]) -> bool {
        self.digests.contains(digest)
    }
}
