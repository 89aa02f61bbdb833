//! A small part, alone or as it is published.

use loader_model::{PartReceipt, PartsReceipt, ResourceName};
use loader_seal::parts::{SMALL_MAX, small_len};
use loader_seal::{Digest, Error, Header, copy_digest};
use loader_stage::{ErrorCode, Failure};
use serde::Serialize;
use std::io::{self, Read};

/// Longest small part in bytes: the longest header, and what follows it.
const READ_MAX: u64 = SMALL_MAX + 65536;

/// Both parts, as the receipt in front of the small one says, or as its length does.
#[derive(Serialize)]
pub(crate) struct Parts {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ResourceName>,
    small: Part,
    big: Part,
}

#[derive(Serialize)]
struct Part {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Whether the bytes that were read are the part of the receipt; left out
    /// where they were fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<bool>,
}

impl Parts {
    /// Reads the small part, whose header was read, to its end: it follows a
    /// receipt, or its length is that of the small part of this file. `None`
    /// where neither is so.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn read(
        receipt: Option<PartsReceipt>,
        header: &Header,
        rest: impl Read,
        len: Option<u64>,
    ) -> Result<Option<Self>, Error> {
        let header_len = header.as_bytes().len() as u64;
        let whole = header.sealed_len().filter(|whole| len == Some(small_len(*whole, header_len)));
        let digest = || copy_digest(header.as_bytes().chain(rest.take(READ_MAX)), io::sink());
        Ok(match (receipt, whole) {
            (Some(receipt), _) => Some(Self::told(receipt, &digest()?)),
            (None, Some(whole)) => Some(Self::seen(&digest()?, whole)),
            (None, None) => None,
        })
    }

    fn told(receipt: PartsReceipt, seen: &Digest) -> Self {
        let matches = (seen.len >= receipt.small.size)
            .then(|| seen.len == receipt.small.size && seen.hex() == receipt.small.sha256);
        let part = |part: PartReceipt, matches| Part { size: part.size, sha256: Some(part.sha256), matches };
        Self { name: receipt.name, small: part(receipt.small, matches), big: part(receipt.big, None) }
    }

    fn seen(small: &Digest, whole: u64) -> Self {
        let big = Part { size: whole.saturating_sub(small.len), sha256: None, matches: None };
        Self { name: None, small: Part { size: small.len, sha256: Some(small.hex()), matches: None }, big }
    }

    /// Checks a receipt against the header, which a key has verified.
    ///
    /// # Errors
    /// `digest_mismatch` where the small part is not the one of the receipt, or
    /// both parts are not the length of the file.
    pub(crate) fn check(&self, header: &Header, place: &str) -> Result<(), Failure> {
        let differs = |what: &str| {
            Err(Failure::new(ErrorCode::DigestMismatch, format_args!("{place}: {what}"))
                .hint("a part of another release, or a damaged one: fetch it again".to_owned()))
        };
        if self.small.matches == Some(false) {
            return differs("the small part is not the one of its receipt");
        }
        match header.sealed_len() {
            Some(whole) if self.small.size.checked_add(self.big.size) != Some(whole) => {
                differs("the sizes in the receipt are not those of this file")
            }
            _ => Ok(()),
        }
    }
}
