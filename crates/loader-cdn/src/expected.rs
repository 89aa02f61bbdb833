//! What a part must be: size and SHA-256.

use loader_model::PartReceipt;
use ring::digest::{Context, SHA256};

/// Size and digest that were promised for a part, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes.
    pub size: Option<u64>,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

impl From<&PartReceipt> for Expected {
    fn from(receipt: &PartReceipt) -> Self {
        Self { size: Some(receipt.size), sha256: Some(receipt.sha256.to_ascii_lowercase()) }
    }
}

impl Expected {
    /// Checks a part that is in memory.
    ///
    /// # Errors
    /// What differs, wanted and found.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let mut tally = Tally::new();
        tally.update(bytes);
        tally.check(self)
    }
}

/// Counts and digests bytes as they pass.
#[derive(Clone)]
pub(crate) struct Tally {
    size: u64,
    digest: Context,
}

impl Tally {
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

    /// The SHA-256 in hexadecimal.
    pub(crate) fn hex(self) -> String {
        hex(self.digest.finish().as_ref())
    }

    /// What differs from `expected`, wanted and found.
    pub(crate) fn check(self, expected: &Expected) -> Result<(), String> {
        if let Some(size) = expected.size
            && size != self.size
        {
            return Err(format!("{} bytes where the receipt says {size}", self.size));
        }
        let found = self.hex();
        match &expected.sha256 {
            Some(sha256) if *sha256 != found => Err(format!("sha256 is {found} where the receipt says {sha256}")),
            _ => Ok(()),
        }
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits that [`hex`] wrote.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, bytes).as_ref())
}
