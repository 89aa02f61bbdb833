//! Expected size and SHA-256 of a part.

use loader_model::PartReceipt;
use ring::digest::{Context, SHA256};

/// Expected size and digest of a part, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedPart {
    /// Size in bytes.
    pub size: Option<u64>,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

impl From<&PartReceipt> for ExpectedPart {
    fn from(receipt: &PartReceipt) -> Self {
        Self { size: Some(receipt.size), sha256: Some(receipt.sha256.to_ascii_lowercase()) }
    }
}

impl ExpectedPart {
    /// Checks a part in memory.
    ///
    /// # Errors
    /// A description of the first difference.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.check(self)
    }
}

/// Counts and hashes bytes.
#[derive(Clone)]
pub(crate) struct Hasher {
    size: u64,
    digest: Context,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { size: 0, digest: Context::new(&SHA256) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.digest.update(bytes);
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the SHA-256 in hexadecimal.
    pub(crate) fn finish_hex(self) -> String {
        hex::encode(self.digest.finish().as_ref())
    }

    /// Checks size and digest.
    ///
    /// # Errors
    /// A description of the first difference.
    pub(crate) fn check(self, expected: &ExpectedPart) -> Result<(), String> {
        if let Some(size) = expected.size
            && size != self.size
        {
            return Err(format!("size is {} bytes but the receipt says {size}", self.size));
        }
        let found = self.finish_hex();
        match &expected.sha256 {
            Some(sha256) if *sha256 != found => Err(format!("sha256 is {found} but the receipt says {sha256}")),
            _ => Ok(()),
        }
    }
}

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&SHA256, bytes).as_ref())
}
