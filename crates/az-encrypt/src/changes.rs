//! Detection of an input that changes between the first reading, for the list of images,
//! and the second, which is sealed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use twox_hash::XxHash3_128;

/// Checksum of the bytes of a [`ChecksumReader`]. Two checksums can be compared only if one
/// reader was created with the checksum of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    seed: u64,
    value: u128,
}

/// Reader that computes a checksum of the bytes. The checksum is not cryptographic: it
/// detects a process that writes to the input, and costs a tenth of SHA-256.
pub(crate) struct ChecksumReader<R> {
    inner: R,
    seed: u64,
    hasher: XxHash3_128,
}

impl<R: Read> ChecksumReader<R> {
    /// Creates a reader with a random seed.
    pub(crate) fn new(inner: R) -> Self {
        Self::with_seed(inner, RandomState::new().build_hasher().finish())
    }

    fn with_seed(inner: R, seed: u64) -> Self {
        Self { inner, seed, hasher: XxHash3_128::with_seed(seed) }
    }

    /// Returns the checksum of the bytes that were read.
    pub(crate) fn checksum(&self) -> Checksum {
        Checksum { seed: self.seed, value: self.hasher.finish_128() }
    }
}

impl<R: Read> Read for ChecksumReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.write(&buffer[..read]);
        Ok(read)
    }
}

/// Reader for the second reading. If the bytes differ from the first reading, it returns an
/// error instead of the end of the input, so that no complete file is sealed.
pub(crate) struct ChangeDetectingReader<R> {
    input: ChecksumReader<R>,
    expected: Option<Checksum>,
    is_changed: bool,
}

impl<R: Read> ChangeDetectingReader<R> {
    /// Creates a reader that compares the bytes with `expected`, if they were read before.
    pub(crate) fn new(input: R, expected: Option<Checksum>) -> Self {
        let seed = expected.map_or(0, |checksum| checksum.seed);
        Self { input: ChecksumReader::with_seed(input, seed), expected, is_changed: false }
    }

    /// Returns true if the input has changed since the first reading.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
    }
}

impl<R: Read> Read for ChangeDetectingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(expected) = self.expected else { return self.input.inner.read(buffer) };
        let read = self.input.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.input.checksum() != expected {
            self.is_changed = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(read)
    }
}
