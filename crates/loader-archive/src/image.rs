//! Images as a sealed header lists them.

use serde::{Deserialize, Serialize};

/// An image, as a sealed header lists it (field 06) and as an archive contains it.
/// Unknown fields are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of the config, `sha256:` and 64 digits: the id on engines with a store of
    /// their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Digest of the manifest or index that an OCI layout names first: the id on engines
    /// with the containerd image store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Platform, such as `linux/arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Names with tags, such as `app:1.4`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The layers, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

/// A layer of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed layer, `sha256:` and 64 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Digest of the layer as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Number of bytes of the layer as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Image {
    /// Returns the name for messages: the first tag, else the id.
    pub fn label(&self) -> &str {
        let id = self.config.as_deref().or(self.manifest.as_deref());
        self.tags.first().map(String::as_str).or(id).unwrap_or("an image without a name")
    }

    /// Returns the digests of the uncompressed layers, lowest first, or `None` if one of
    /// them is unknown.
    pub fn diff_ids(&self) -> Option<Vec<&str>> {
        let known: Option<Vec<_>> = self.layers.iter().map(|layer| layer.diff_id.as_deref()).collect();
        known.filter(|ids| !ids.is_empty())
    }
}
