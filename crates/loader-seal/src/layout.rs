//! Where everything stands: sizes of the header, of segments, of whole files.

use crate::Error;

/// First bytes of every sealed stream.
pub const MAGIC: [u8; 8] = [0x89, b'A', b'Z', b'S', 0x0d, 0x0a, 0x1a, 0x0a];

/// Bytes of the header before the first TLV.
pub const FIXED_LEN: usize = 40;

/// Bytes of the header that are associated data of the stream.
pub(crate) const BOUND_LEN: usize = 36;

/// Bytes of the header's MAC.
pub(crate) const MAC_LEN: usize = 32;

/// Shortest and longest header in bytes.
pub(crate) const HEADER_LEN: std::ops::RangeInclusive<usize> = FIXED_LEN + MAC_LEN..=65536;

/// Smallest and largest log2 of a segment's length in bytes.
pub(crate) const SEGMENT_LOG2: std::ops::RangeInclusive<u8> = 12..=24;

/// Bytes of the stream's own header: its length, a salt of 32, a nonce prefix of 7.
pub const STREAM_HEADER_LEN: usize = 40;

/// The cipher of the stream (format: bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-256-CTR and HMAC-SHA-256, tags of 32 bytes (Tink's AesCtrHmacStreaming).
    AesCtrHmac,
    /// AES-256-GCM, tags of 16 bytes (Tink's AesGcmHkdfStreaming).
    AesGcm,
}

impl Suite {
    /// The suite's byte in the header.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::AesCtrHmac => 1,
            Self::AesGcm => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, Error> {
        match byte {
            1 => Ok(Self::AesCtrHmac),
            2 => Ok(Self::AesGcm),
            _ => Err(Error::Unsupported(format!("suite {byte}"))),
        }
    }

    /// The suite's name: `aes-256-ctr-hmac-sha-256` or `aes-256-gcm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCtrHmac => "aes-256-ctr-hmac-sha-256",
            Self::AesGcm => "aes-256-gcm",
        }
    }

    /// Bytes of a segment's tag.
    pub fn tag_len(self) -> usize {
        match self {
            Self::AesCtrHmac => 32,
            Self::AesGcm => 16,
        }
    }
}

/// The sizes that follow from suite, segment length and header length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) suite: Suite,
    pub(crate) segment_len: usize,
    pub(crate) header_len: usize,
}

impl Layout {
    /// Bytes of segment `index` when it is full, its tag included.
    pub(crate) fn full(&self, index: u64) -> usize {
        if index == 0 { self.segment_len - STREAM_HEADER_LEN } else { self.segment_len }
    }

    /// Bytes of plaintext in segment `index` when it is full.
    pub(crate) fn capacity(&self, index: u64) -> usize {
        self.full(index) - self.suite.tag_len()
    }

    /// Where segment `index` begins, in bytes from the magic.
    pub(crate) fn offset(&self, index: u64) -> u64 {
        let start = self.header_len as u64;
        if index == 0 { start + STREAM_HEADER_LEN as u64 } else { start + index * self.segment_len as u64 }
    }

    /// Where the plaintext of segment `index` begins, in bytes of plaintext.
    pub(crate) fn plaintext_offset(&self, index: u64) -> u64 {
        match index.checked_sub(1) {
            None => 0,
            Some(before) => self.capacity(0) as u64 + before * self.capacity(1) as u64,
        }
    }

    /// The segment that holds byte `at` of the plaintext.
    pub(crate) fn segment_of(&self, at: u64) -> u64 {
        match at.checked_sub(self.capacity(0) as u64) {
            None => 0,
            Some(beyond) => 1 + beyond / self.capacity(1) as u64,
        }
    }

    /// The last segment of a stream with `plaintext_len` bytes of plaintext.
    pub(crate) fn last_segment(&self, plaintext_len: u64) -> u64 {
        self.segment_of(plaintext_len.saturating_sub(1))
    }

    /// Bytes of the whole sealed file; `None` past what u64 can count.
    pub(crate) fn sealed_len(&self, plaintext_len: u64) -> Option<u64> {
        let tags = (self.last_segment(plaintext_len) + 1).checked_mul(self.suite.tag_len() as u64)?;
        plaintext_len.checked_add(tags)?.checked_add((self.header_len + STREAM_HEADER_LEN) as u64)
    }

    /// The last segment and the plaintext's length of a file of `sealed_len`
    /// bytes, by its size alone.
    ///
    /// # Errors
    /// [`Error::Truncated`] where no whole stream has this size.
    pub(crate) fn shape_of(&self, sealed_len: u64) -> Result<(u64, u64), Error> {
        let tag = self.suite.tag_len() as u64;
        let stream_len = sealed_len.saturating_sub(self.header_len as u64);
        let last = stream_len.saturating_sub(1) / self.segment_len as u64;
        let in_last = sealed_len.saturating_sub(self.offset(last));
        if in_last < tag || (last > 0 && in_last == tag) {
            return Err(Error::Truncated { at: sealed_len, inside: format!("segment {last}") });
        }
        Ok((last, self.plaintext_offset(last) + in_last - tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_their_bytes_and_names() {
        let suites = [(1, "aes-256-ctr-hmac-sha-256", 32), (2, "aes-256-gcm", 16)];
        for (byte, name, tag_len) in suites {
            let suite = Suite::from_byte(byte).unwrap();
            assert_eq!((suite.to_byte(), suite.name(), suite.tag_len()), (byte, name, tag_len));
        }
        assert!([0, 3, 255].into_iter().all(|byte| Suite::from_byte(byte).is_err()));
    }

    #[test]
    fn sizes_agree_both_ways() {
        for suite in [Suite::AesCtrHmac, Suite::AesGcm] {
            let layout = Layout { suite, segment_len: 4096, header_len: 139 };
            let (first, next) = (layout.capacity(0) as u64, layout.capacity(1) as u64);
            for len in [0, 1, first - 1, first, first + 1, first + next, first + next + 1, 1_000_000] {
                let sealed = layout.sealed_len(len).unwrap();
                assert_eq!(layout.shape_of(sealed).unwrap(), (layout.last_segment(len), len), "{suite:?} {len}");
            }
            assert!(layout.shape_of(layout.sealed_len(first).unwrap() + suite.tag_len() as u64).is_err());
        }
    }
}
