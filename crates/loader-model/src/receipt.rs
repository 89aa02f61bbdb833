//! The receipt of `az-split --parts` for the two files that it wrote.

use crate::ResourceName;
use serde::{Deserialize, Serialize};

/// Sizes and digests of both parts of a sealed file. A server publishes the receipt as one
/// line of JSON followed by the small part, sealed to the device; thus the digest of the big
/// part is authenticated too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartsReceipt {
    /// Version of the receipt, 1.
    pub parts: u32,
    /// `folder/name` of the resource, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ResourceName>,
    /// The small part: header, stream header and the first segments.
    pub small: PartReceipt,
    /// The big part: the rest.
    pub big: PartReceipt,
}

/// Size and digest of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartReceipt {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl PartsReceipt {
    /// First bytes of every receipt line.
    pub const LINE_START: &'static [u8] = b"{\"parts\":1,";

    /// Maximum length of a receipt line in bytes, including the newline.
    pub const LINE_MAX: usize = 4096;

    /// Returns the receipt as one line of JSON with a newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Splits a published small part into the receipt and the bytes after it. Returns `None`
    /// if it does not begin with a receipt, and `Some(Err(_))` if the receipt is malformed.
    pub fn split_prefix(published: &[u8]) -> Option<Result<(Self, &[u8]), serde_json::Error>> {
        if !published.starts_with(Self::LINE_START) {
            return None;
        }
        let head = &published[..published.len().min(Self::LINE_MAX)];
        let end = head.iter().position(|b| *b == b'\n').unwrap_or(head.len());
        let receipt = serde_json::from_slice(&head[..end]);
        let rest = &published[(end + 1).min(published.len())..];
        Some(receipt.map(|receipt| (receipt, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receipt_is_split_from_the_small_part() {
        let part = |size| PartReceipt { size, sha256: "ab".repeat(32) };
        let receipt = PartsReceipt { parts: 1, name: Some("models/a".parse().unwrap()), small: part(4), big: part(9) };
        let mut published = receipt.to_line();
        published.extend(b"tail");
        let (back, rest) = PartsReceipt::split_prefix(&published).unwrap().unwrap();
        assert_eq!((back, rest), (receipt, &b"tail"[..]));
        assert!(PartsReceipt::split_prefix(b"tail").is_none());
        assert!(PartsReceipt::split_prefix(b"{\"parts\":1,nonsense\n").unwrap().is_err());
    }
}
