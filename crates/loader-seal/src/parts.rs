//! Splitting a sealed file into a small part for the API and a big part for the CDN, and
//! joining them (crates/loader-seal/README.md, "Parts").

use crate::digest::HashingWriter;
use crate::{Digest, Error, Header, STREAM_HEADER_LEN, copy_digest};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Maximum length of a small part in bytes.
pub const SMALL_MAX: u64 = 3 << 20;

/// Length in bytes of the shortest file whose small part has [`SMALL_MAX`], which is 30 %
/// of it.
const WHOLE_WITH_SMALL_MAX: u64 = 10 << 20;

/// Length and SHA-256 of both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsDigest {
    /// Digest of the small part: header, stream header, first bytes of the data.
    pub small: Digest,
    /// Digest of the big part: all other bytes.
    pub big: Digest,
}

/// Returns the length in bytes of the small part of a sealed file of `whole_len` bytes
/// with a header of `header_len` bytes: 30 % of the file, rounded down, but at most
/// [`SMALL_MAX`], and at least the header, the stream header of 40 bytes, and one byte.
pub fn small_len(whole_len: u64, header_len: u64) -> u64 {
    // Divided before it is multiplied, to avoid an overflow.
    let share = whole_len / 10 * 3 + whole_len % 10 * 3 / 10;
    share.min(SMALL_MAX).max(header_len.saturating_add(STREAM_HEADER_LEN as u64 + 1))
}

/// Returns an identifier of the file and of the position at which it is split: the file
/// id in hexadecimal, and the length of the small part without the header. Two parts with
/// the same identifier belong together, even if the keys of the file were changed, which
/// changes the length of the header. The identifier is not authenticated.
pub fn split_id(header: &Header, small_len: u64) -> String {
    format!("{}-{}", hex::encode(header.file_id()), small_len.saturating_sub(header.as_bytes().len() as u64))
}

/// Splits the sealed file in `input`, which is read to its end, into `small` and `big`.
///
/// `small` is an empty file that is open for reading and writing. The length of the input
/// need not be known: up to 10 MiB are written to `small`, and the bytes after the split
/// position are then moved to `big`. Uses one buffer of 256 KiB, and the header. Neither
/// output is synced.
///
/// No part is ever empty: after its stream header, a sealed file has at least a tag of 16
/// bytes, of which the small part gets one byte.
///
/// # Errors
/// The errors of [`Header::read`]; [`Error::Truncated`] and [`Error::Trailing`] if no
/// sealed file has the length of the input, or the header declares another length;
/// [`Error::Read`] and [`Error::Write`]. The outputs are then incomplete. If the header
/// declares no length, a file that was truncated between two segments is not detected;
/// that requires the key.
pub fn split_parts(mut input: impl Read, small: &mut File, big: impl Write) -> Result<PartsDigest, Error> {
    let header = Header::read(&mut input)?;
    let header_len = header.as_bytes().len() as u64;
    let mut start = HashingWriter::new(&mut *small);
    start.copy_from(header.as_bytes(), header_len)?;
    start.copy_from(&mut input, WHOLE_WITH_SMALL_MAX - header_len)?;
    let start_len = start.finish().len;
    if start_len < WHOLE_WITH_SMALL_MAX {
        check_len(&header, start_len)?;
    }

    let small_len = small_len(start_len, header_len);
    let mut big = HashingWriter::new(big);
    small.seek(SeekFrom::Start(small_len)).map_err(Error::Write)?;
    big.copy_from(&mut *small, u64::MAX)?;
    big.copy_from(&mut input, u64::MAX)?;
    small.set_len(small_len).map_err(Error::Write)?;
    small.rewind().map_err(Error::Write)?;
    let parts = PartsDigest { small: copy_digest(small, io::sink())?, big: big.finish() };
    check_len(&header, parts.small.len + parts.big.len)?;
    Ok(parts)
}

/// Joins two parts: writes `small` and then `big` to `whole`. Nothing is written if
/// `small` does not start with a header, for example because the parts are swapped. Uses
/// one buffer of 256 KiB, and the header.
///
/// # Errors
/// The errors of [`Header::read`] for the small part; [`Error::Truncated`] and
/// [`Error::Trailing`] if no sealed file has the length of both parts, or the header
/// declares another length; [`Error::Read`] and [`Error::Write`].
pub fn join_parts(mut small: impl Read, big: impl Read, mut whole: impl Write) -> Result<PartsDigest, Error> {
    let header = Header::read(&mut small)?;
    let small = copy_digest(header.as_bytes().chain(small), &mut whole)?;
    let big = copy_digest(big, whole)?;
    check_len(&header, small.len + big.len)?;
    Ok(PartsDigest { small, big })
}

/// Checks that `len` bytes is a possible length of a sealed file with this header. If the
/// header declares no length, a file that was truncated between two segments passes.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Trailing`].
pub fn check_len(header: &Header, len: u64) -> Result<(), Error> {
    let layout = header.layout();
    let last = layout.extent_from_len(len)?.last_segment;
    match header.sealed_len() {
        Some(declared) if len < declared => Err(Error::Truncated { at: len, inside: format!("segment {last}") }),
        Some(declared) if len > declared => Err(Error::Trailing { offset: declared }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
