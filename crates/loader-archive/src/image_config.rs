//! The config of an image (OCI image specification, `config.md`), and the layers that
//! it promises.

use crate::compression::Compression;
use crate::layer::layer_error;
use crate::members::{Blob, BlobKind, LayerPlace};
use crate::names::{format_digest, parse_digest};
use crate::strict_json::{self, IMAGE_CONFIG, null_is_empty};
use crate::{Error, Platform};
use serde::Deserialize;

/// What is needed of a config.
pub(crate) struct ImageConfig {
    pub(crate) platform: Platform,
    /// Digests of the uncompressed layers, lowest first.
    pub(crate) diff_ids: Vec<[u8; 32]>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    variant: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<String>,
}

/// Parses the config in `member`.
///
/// # Errors
/// [`Error::Malformed`], [`Error::Unsupported`].
pub(crate) fn parse(member: &str, text: &[u8]) -> Result<ImageConfig, Error> {
    let text: Text = strict_json::parse(member, text, IMAGE_CONFIG)?;
    if !matches!(text.rootfs.kind.as_str(), "" | "layers") {
        return Err(Error::Unsupported(format!("{member}: a root filesystem of type {:?}", text.rootfs.kind)));
    }
    let diff_ids = text.rootfs.diff_ids.iter().map(|digest| parse_digest(member, digest)).collect::<Result<_, _>>()?;
    Ok(ImageConfig { platform: Platform::new(&text.os, &text.architecture, &text.variant), diff_ids })
}

/// Checks that a blob is the layer with this diff_id, and returns its compression and
/// its place in the archive.
///
/// # Errors
/// [`Error::Digest`], [`Error::Malformed`], [`Error::Unsupported`].
pub(crate) fn check_layer(
    member: &str,
    blob: &Blob,
    diff_id: &[u8; 32],
) -> Result<(Option<Compression>, LayerPlace), Error> {
    match &blob.kind {
        BlobKind::Layer { facts: Ok(facts), .. } if facts.diff_id != *diff_id => {
            let (expected, actual) = (format_digest(diff_id), format_digest(&facts.diff_id));
            Err(Error::Digest { member: format!("{member}, uncompressed"), expected, actual })
        }
        BlobKind::Layer { facts: Ok(facts), place } => Ok((facts.compression, *place)),
        BlobKind::Layer { facts: Err(why), .. } => Err(layer_error(member, why)),
        BlobKind::Document(_) | BlobKind::Other => Err(layer_error(member, "no layer: it is no tar archive")),
    }
}
