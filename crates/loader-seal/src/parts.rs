//! A sealed file cut into a small part for the API and a big part for the CDN,
//! and made whole again.

use crate::digest::Tally;
use crate::{Digest, Error, Header, STREAM_HEADER_LEN, copy_digest};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The small part is never longer, in bytes: it travels through the API.
pub const SMALL_MAX: u64 = 3 << 20;

/// From this length of the whole on, in bytes, the small part is [`SMALL_MAX`]:
/// 30 % of it.
const WHOLE_OF_SMALL_MAX: u64 = 10 << 20;

/// Length and SHA-256 of both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsDigest {
    /// The small part: header, stream header, first bytes of the data.
    pub small: Digest,
    /// The big part: the rest.
    pub big: Digest,
}

/// Length in bytes of the small part of a sealed file of `whole_len` bytes whose
/// header has `header_len`: 30 %, rounded down, but at most [`SMALL_MAX`] and at
/// least the header, the 40 bytes of the stream header and one byte (format:
/// parts).
pub fn small_len(whole_len: u64, header_len: u64) -> u64 {
    // In tenths first: three times a whole near 2^64 would not fit.
    let share = whole_len / 10 * 3 + whole_len % 10 * 3 / 10;
    share.min(SMALL_MAX).max(header_len.saturating_add(STREAM_HEADER_LEN as u64 + 1))
}

/// Names the file of `header` and the place where a small part of `small_len` bytes
/// ends: the file id in hexadecimal, and the bytes behind the header. Two parts
/// with the same name belong together, also after a change of keys, which makes the
/// header longer or shorter. No proof: who can write a header can choose it.
pub fn cut_name(header: &Header, small_len: u64) -> String {
    let mut name: String = header.file_id().iter().map(|byte| format!("{byte:02x}")).collect();
    name.push_str(&format!("-{}", small_len.saturating_sub(header.as_bytes().len() as u64)));
    name
}

/// Cuts the sealed file in `input`, which is read to its end, into `small` and
/// `big`; one after the other they are the file again. `small` is an empty file
/// open for reading and writing. The length of the input need not be known: up to
/// 10 MiB go to `small` before the place of the cut is, and what is too much is
/// then moved to `big`. Memory: one buffer of 256 KiB and the header. Neither
/// output is synced.
///
/// Neither part is ever empty: a sealed file has at least a tag of 16 bytes after
/// its stream header, and the small part takes one byte of it.
///
/// # Errors
///
/// Those of [`Header::read`]; [`Error::Truncated`] and [`Error::Trailing`]: no
/// whole sealed file has the length of the input, or the header declares another;
/// [`Error::Read`] and [`Error::Write`]. What the outputs then hold is of no use.
/// A file of unknown length that was cut between two segments is not noticed:
/// that takes the key.
pub fn split_parts(mut input: impl Read, small: &mut File, big: impl Write) -> Result<PartsDigest, Error> {
    let header = Header::read(&mut input)?;
    let header_len = header.as_bytes().len() as u64;
    let mut held = Tally::new(&mut *small);
    held.take(header.as_bytes(), header_len)?;
    held.take(&mut input, WHOLE_OF_SMALL_MAX - header_len)?;
    let held_len = held.finish().len;
    if held_len < WHOLE_OF_SMALL_MAX {
        check_len(&header, held_len)?;
    }

    let cut = small_len(held_len, header_len);
    let mut rest = Tally::new(big);
    small.seek(SeekFrom::Start(cut)).map_err(Error::Write)?;
    rest.take(&mut *small, u64::MAX)?;
    rest.take(&mut input, u64::MAX)?;
    small.set_len(cut).map_err(Error::Write)?;
    small.rewind().map_err(Error::Write)?;
    let parts = PartsDigest { small: copy_digest(small, io::sink())?, big: rest.finish() };
    check_len(&header, parts.small.len + parts.big.len)?;
    Ok(parts)
}

/// Writes `small` and then `big` to `whole`, both read to their end. Nothing is
/// written before the small part has begun like a sealed file, so parts in the
/// wrong order are noticed: a big part has no magic. Memory: one buffer of 256 KiB
/// and the header.
///
/// # Errors
///
/// Those of [`Header::read`] for the small part; [`Error::Truncated`] and
/// [`Error::Trailing`]: no whole sealed file has the length of both, or the header
/// declares another; [`Error::Read`] and [`Error::Write`].
pub fn join_parts(mut small: impl Read, big: impl Read, mut whole: impl Write) -> Result<PartsDigest, Error> {
    let header = Header::read(&mut small)?;
    let small = copy_digest(header.as_bytes().chain(small), &mut whole)?;
    let big = copy_digest(big, whole)?;
    check_len(&header, small.len + big.len)?;
    Ok(PartsDigest { small, big })
}

/// Checks that a sealed file with this header can have `len` bytes. Where the
/// header declares no length, a file that is cut can: only the key tells.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Trailing`].
pub fn check_len(header: &Header, len: u64) -> Result<(), Error> {
    let layout = header.layout();
    let (segment, _) = layout.shape_of(len)?;
    match header.sealed_len() {
        Some(declared) if len < declared => Err(Error::Truncated { at: len, inside: format!("segment {segment}") }),
        Some(declared) if len > declared => Err(Error::Trailing { offset: declared }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
