//! Layers that the engine has already and that need not be sent.

use crate::{Image, Layer};
use std::collections::HashSet;

/// Which layers of an archive are left out of what passes; they may be absent
/// altogether. Their bytes are not looked at, since no one gets them: what counts
/// is the digest that the config has for them.
#[derive(Clone, Debug, Default)]
pub struct Omit {
    digests: HashSet<String>,
    sizes: HashSet<u64>,
    len: u64,
}

impl Omit {
    /// Leaves out the layers of `images` that `present` says the engine has: it is
    /// asked with the unpacked digests of an image from the lowest layer up to
    /// and including the one in question, since an engine knows a layer only on
    /// top of those below it.
    ///
    /// A layer that several images share is left out only where it is present for
    /// each of them. The oldest layout names layers by something else than their
    /// digest; there a layer is known by its size, where all layers of that size
    /// are present.
    pub fn new(images: &[Image], mut present: impl FnMut(&[&str]) -> bool) -> Self {
        let (mut there, mut needed): (Vec<&Layer>, Vec<&Layer>) = (Vec::new(), Vec::new());
        for image in images {
            let ids = image.diff_ids().unwrap_or_default();
            for (at, layer) in image.layers.iter().enumerate() {
                let known = ids.len() > at && present(&ids[..=at]);
                if known { there.push(layer) } else { needed.push(layer) }
            }
        }
        let names = |layer: &&Layer| [layer.diff_id.clone(), layer.digest.clone()].into_iter().flatten();
        let mut digests: HashSet<String> = there.iter().flat_map(names).collect();
        for digest in needed.iter().flat_map(names) {
            digests.remove(&digest);
        }
        let mut sizes: HashSet<u64> = there.iter().filter_map(|layer| layer.size).collect();
        for size in needed.iter().filter_map(|layer| layer.size) {
            sizes.remove(&size);
        }
        if needed.iter().any(|layer| layer.size.is_none()) {
            sizes.clear();
        }
        let mut seen = HashSet::new();
        let counts =
            |layer: &&&Layer| names(layer).all(|name| digests.contains(&name)) && seen.insert(layer.diff_id.clone());
        let len = there.iter().filter(counts).filter_map(|layer| layer.size).sum();
        Self { digests, sizes, len }
    }

    /// Bytes of the layers that are left out, as far as their sizes are known.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True where nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether the member is one of the layers to leave out.
    pub(crate) fn covers(&self, member: &str, size: u64) -> bool {
        if member.ends_with("/layer.tar") {
            return self.sizes.contains(&size);
        }
        let digits = member.strip_prefix("blobs/sha256/").or_else(|| member.strip_suffix(".tar"));
        digits.is_some_and(|digits| self.digests.contains(&format!("sha256:{digits}")))
    }

    /// Whether the engine has the layer with this digest, stored or unpacked.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.digests.contains(digest)
    }
}
