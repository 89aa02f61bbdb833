//! What `az-split --parts` says of the two files it made.

use crate::ResourceName;
use serde::{Deserialize, Serialize};

/// Sizes and digests of both parts of a sealed file. As one line of JSON in
/// front of the small part it is what a server publishes, so that the digest of
/// the big part reaches the device inside what was sealed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartsReceipt {
    /// Version of the receipt, 1.
    pub parts: u32,
    /// `folder/name` of the resource, where one was given.
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
    /// What every receipt line begins with.
    pub const LINE_START: &'static [u8] = b"{\"parts\":1,";

    /// Longest receipt line in bytes, newline included.
    pub const LINE_MAX: usize = 4096;

    /// The receipt as one line of JSON with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Takes the receipt off the front of a published small part. `None` where
    /// there is none; `Some(Err(_))` where it begins like one and is not.
    pub fn take_from(published: &[u8]) -> Option<Result<(Self, &[u8]), serde_json::Error>> {
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
    fn a_receipt_is_taken_off_the_front() {
        let part = |size| PartReceipt { size, sha256: "ab".repeat(32) };
        let receipt = PartsReceipt { parts: 1, name: Some("models/a".parse().unwrap()), small: part(4), big: part(9) };
        let mut published = receipt.to_line();
        published.extend(b"tail");
        let (back, rest) = PartsReceipt::take_from(&published).unwrap().unwrap();
        assert_eq!((back, rest), (receipt, &b"tail"[..]));
        assert!(PartsReceipt::take_from(b"tail").is_none());
        assert!(PartsReceipt::take_from(b"{\"parts\":1,nonsense\n").unwrap().is_err());
    }
}
