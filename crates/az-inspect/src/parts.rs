//! Report on the parts of a file, from a small part with or without a receipt.

use loader_model::{PartReceipt, PartsReceipt, ResourceName};
use loader_seal::parts::{SMALL_MAX, small_len};
use loader_seal::{Digest, Error, Header, copy_digest};
use loader_stage::{ErrorCode, Failure};
use serde::Serialize;
use std::io::{self, Read};

/// Maximum number of bytes of a small part to read, after the header.
const READ_MAX: u64 = SMALL_MAX + 65536;

/// Size and digest of both parts, from the receipt before the small part or, without a
/// receipt, from the small part and the length in the header.
#[derive(Serialize)]
pub(crate) struct PartsReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ResourceName>,
    small: PartReport,
    big: PartReport,
}

#[derive(Serialize)]
struct PartReport {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Whether the input matches the receipt; `None` if the input is shorter than the part.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<bool>,
}

impl PartsReport {
    /// Reads the rest of the small part, whose header was already read, to its end. Returns
    /// `None` if the input is not a small part: there is no receipt, and the length is not
    /// that of the small part of this file.
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
            (Some(receipt), _) => Some(Self::from_receipt(receipt, &digest()?)),
            (None, Some(whole)) => Some(Self::from_len(&digest()?, whole)),
            (None, None) => None,
        })
    }

    fn from_receipt(receipt: PartsReceipt, small: &Digest) -> Self {
        let matches = (small.len >= receipt.small.size)
            .then(|| small.len == receipt.small.size && small.hex() == receipt.small.sha256);
        let part = |part: PartReceipt, matches| PartReport { size: part.size, sha256: Some(part.sha256), matches };
        Self { name: receipt.name, small: part(receipt.small, matches), big: part(receipt.big, None) }
    }

    fn from_len(small: &Digest, whole: u64) -> Self {
        let big = PartReport { size: whole.saturating_sub(small.len), sha256: None, matches: None };
        Self { name: None, small: PartReport { size: small.len, sha256: Some(small.hex()), matches: None }, big }
    }

    /// Checks the sizes against the verified header, and the small part against the receipt.
    ///
    /// # Errors
    /// `digest_mismatch` if the small part does not match the receipt, or the sizes do not
    /// match the length of the file.
    pub(crate) fn check(&self, header: &Header, place: &str) -> Result<(), Failure> {
        let differs = |what: &str| {
            Err(Failure::new(ErrorCode::DigestMismatch, format_args!("{place}: {what}"))
                .hint("the part is damaged or from another release: fetch it again".to_owned()))
        };
        if self.small.matches == Some(false) {
            return differs("the small part does not match its receipt");
        }
        match header.sealed_len() {
            Some(whole) if self.small.size.checked_add(self.big.size) != Some(whole) => {
                differs("the sizes in the receipt do not match this file")
            }
            _ => Ok(()),
        }
    }
}
