//! Sizes and offsets in a sealed file: header, segments, plaintext.

use crate::Error;

/// First bytes of every sealed file.
pub const MAGIC: [u8; 8] = [0x89, b'A', b'Z', b'S', 0x0d, 0x0a, 0x1a, 0x0a];

/// Number of header bytes before the first field.
pub const FIXED_LEN: usize = 40;

/// Number of bytes at the start of the header that are the associated data of the
/// stream.
pub(crate) const ASSOCIATED_DATA_LEN: usize = 36;

/// Length of the header's MAC in bytes.
pub(crate) const MAC_LEN: usize = 32;

/// Valid lengths of a header in bytes.
pub(crate) const HEADER_LEN: std::ops::RangeInclusive<usize> = FIXED_LEN + MAC_LEN..=65536;

/// Valid segment lengths, as log2 of a number of bytes.
pub(crate) const SEGMENT_LOG2: std::ops::RangeInclusive<u8> = 12..=24;

/// Length of the stream header in bytes: one length byte, a salt of 32 bytes, a nonce
/// prefix of 7 bytes.
pub const STREAM_HEADER_LEN: usize = 40;

/// Cipher of the stream (crates/loader-seal/README.md, "The stream").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-256-CTR and HMAC-SHA-256, tags of 32 bytes (Tink's AesCtrHmacStreaming).
    AesCtrHmac,
    /// AES-256-GCM, tags of 16 bytes (Tink's AesGcmHkdfStreaming).
    AesGcm,
}

impl Suite {
    /// Returns the suite's byte in the header.
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

    /// Returns the suite's name: `aes-256-ctr-hmac-sha-256` or `aes-256-gcm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCtrHmac => "aes-256-ctr-hmac-sha-256",
            Self::AesGcm => "aes-256-gcm",
        }
    }

    /// Returns the length of a segment's tag in bytes.
    pub fn tag_len(self) -> usize {
        match self {
            Self::AesCtrHmac => 32,
            Self::AesGcm => 16,
        }
    }
}

/// Calculates sizes and offsets from suite, segment length and header length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamLayout {
    pub(crate) suite: Suite,
    /// Length in bytes of a full segment, tag included. The first segment is shorter by
    /// [`STREAM_HEADER_LEN`].
    pub(crate) segment_len: usize,
    pub(crate) header_len: usize,
}

/// Extent of a stream, calculated from the length of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamExtent {
    /// Number of the last segment.
    pub(crate) last_segment: u64,
    /// Length of the plaintext in bytes.
    pub(crate) plaintext_len: u64,
}

impl StreamLayout {
    /// Returns the length in bytes of segment `index` if it is full, tag included.
    pub(crate) fn full_segment_len(&self, index: u64) -> usize {
        if index == 0 { self.segment_len - STREAM_HEADER_LEN } else { self.segment_len }
    }

    /// Returns the number of plaintext bytes in segment `index` if it is full.
    pub(crate) fn plaintext_capacity(&self, index: u64) -> usize {
        self.full_segment_len(index) - self.suite.tag_len()
    }

    /// Returns the offset of segment `index` in bytes from the magic.
    pub(crate) fn segment_offset(&self, index: u64) -> u64 {
        let start = self.header_len as u64;
        if index == 0 { start + STREAM_HEADER_LEN as u64 } else { start + index * self.segment_len as u64 }
    }

    /// Returns the offset in the plaintext of the first byte of segment `index`.
    pub(crate) fn plaintext_offset(&self, index: u64) -> u64 {
        match index.checked_sub(1) {
            None => 0,
            Some(before) => self.plaintext_capacity(0) as u64 + before * self.plaintext_capacity(1) as u64,
        }
    }

    /// Returns the number of the segment that contains byte `offset` of the plaintext.
    pub(crate) fn segment_containing(&self, offset: u64) -> u64 {
        match offset.checked_sub(self.plaintext_capacity(0) as u64) {
            None => 0,
            Some(beyond) => 1 + beyond / self.plaintext_capacity(1) as u64,
        }
    }

    /// Returns the number of the last segment of a stream with `plaintext_len` bytes of
    /// plaintext.
    pub(crate) fn last_segment(&self, plaintext_len: u64) -> u64 {
        self.segment_containing(plaintext_len.saturating_sub(1))
    }

    /// Returns the length of the sealed file in bytes, or `None` if it exceeds `u64`.
    pub(crate) fn sealed_len(&self, plaintext_len: u64) -> Option<u64> {
        let tags = (self.last_segment(plaintext_len) + 1).checked_mul(self.suite.tag_len() as u64)?;
        plaintext_len.checked_add(tags)?.checked_add((self.header_len + STREAM_HEADER_LEN) as u64)
    }

    /// Calculates the extent of the stream in a file of `sealed_len` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if no complete stream has this length.
    pub(crate) fn extent_from_len(&self, sealed_len: u64) -> Result<StreamExtent, Error> {
        let tag = self.suite.tag_len() as u64;
        let stream_len = sealed_len.saturating_sub(self.header_len as u64);
        let last = stream_len.saturating_sub(1) / self.segment_len as u64;
        let in_last = sealed_len.saturating_sub(self.segment_offset(last));
        if in_last < tag || (last > 0 && in_last == tag) {
            return Err(Error::Truncated { at: sealed_len, inside: format!("segment {last}") });
        }
        Ok(StreamExtent { last_segment: last, plaintext_len: self.plaintext_offset(last) + in_last - tag })
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
    fn extent_from_len_reverses_sealed_len() {
        for suite in [Suite::AesCtrHmac, Suite::AesGcm] {
            let layout = StreamLayout { suite, segment_len: 4096, header_len: 139 };
            let (first, next) = (layout.plaintext_capacity(0) as u64, layout.plaintext_capacity(1) as u64);
            for len in [0, 1, first - 1, first, first + 1, first + next, first + next + 1, 1_000_000] {
                let sealed = layout.sealed_len(len).unwrap();
                let extent = StreamExtent { last_segment: layout.last_segment(len), plaintext_len: len };
                assert_eq!(layout.extent_from_len(sealed).unwrap(), extent, "{suite:?} {len}");
            }
            assert!(layout.extent_from_len(layout.sealed_len(first).unwrap() + suite.tag_len() as u64).is_err());
        }
    }
}
