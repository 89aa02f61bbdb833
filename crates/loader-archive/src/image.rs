//! What an image is known by.

use serde::{Deserialize, Serialize};

/// An image, as a sealed header records it (field 06) and as an archive holds
/// it. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:` and 64 digits of the config: the id on engines with their own store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The same of the manifest (or index) that an OCI layout names first: the id on
    /// engines with the containerd image store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
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
    /// `sha256:` and 64 digits of the unpacked layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// The same of the layer as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Bytes of the layer as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Image {
    /// What messages call it: its first tag, else its id.
    pub fn label(&self) -> &str {
        let id = self.config.as_deref().or(self.manifest.as_deref());
        self.tags.first().map(String::as_str).or(id).unwrap_or("an image without a name")
    }

    /// The digests of the unpacked layers, lowest first; `None` where one is not known.
    pub fn diff_ids(&self) -> Option<Vec<&str>> {
        let known: Option<Vec<_>> = self.layers.iter().map(|layer| layer.diff_id.as_deref()).collect();
        known.filter(|ids| !ids.is_empty())
    }
}
