//! Opening a stream. Only verified bytes are written.

use crate::cipher::SegmentCipher;
use crate::header::read_full;
use crate::layout::STREAM_HEADER_LEN;
use crate::opened::SealedExtent;
use crate::seal::{Segment, SegmentReader};
use crate::{Error, Unlocked};
use loader_pipe::{Sink, process_in_order};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

impl Unlocked {
    /// Opens the stream in `input`, which starts after the header, and writes its
    /// plaintext to `output`. Returns the length of the plaintext in bytes. A segment is
    /// written after its tag was verified and all previous segments were written. Uses
    /// one [`loader_pipe::Buffer`] per thread.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Truncated`], [`Error::Trailing`] and
    /// [`Error::LengthMismatch`]; the bytes written until then are a prefix of the
    /// plaintext. [`Error::Read`], [`Error::Write`].
    pub fn open(
        &self,
        input: &mut (impl Read + Send),
        output: &mut (impl Sink + Send),
        threads: usize,
    ) -> Result<u64, Error> {
        let layout = *self.header().layout();
        let cipher = self.cipher(input)?;
        let mut segments = SegmentReader::new(input);
        let mut plaintext_len = 0;
        process_in_order(
            threads,
            output.memory(),
            layout.segment_len + 1,
            |buffer, stopped| segments.next(buffer, layout.full_segment_len(segments.index), stopped),
            || |segment: Segment, buffer: &mut [u8]| self.open_segment(&cipher, &segment, buffer),
            |buffer, range| {
                plaintext_len += range.len() as u64;
                output.write_from(buffer, range).map_err(Error::Write)
            },
        )?;
        let header_len = self.header().as_bytes().len() + STREAM_HEADER_LEN;
        self.check_sealed_len(header_len as u64 + segments.total_len, segments.index.saturating_sub(1))?;
        output.flush().map_err(Error::Write)?;
        Ok(plaintext_len)
    }

    /// Writes `len` bytes of plaintext starting at `offset`, or all bytes up to the end if
    /// `len` is `None`. Returns the number of bytes. Reads and verifies only the segments
    /// that contain the range. `input` is the complete file, with its header. If the header
    /// does not declare the length of the plaintext, the last segment is verified first.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and the errors of [`Unlocked::open`].
    pub fn open_range(
        &self,
        input: &mut (impl Read + Seek + Send),
        output: &mut (impl Sink + Send),
        offset: u64,
        len: Option<u64>,
        threads: usize,
    ) -> Result<u64, Error> {
        let layout = *self.header().layout();
        let (cipher, mut extent) = self.stream_extent(input)?;
        if self.header().plaintext_len().is_none() {
            // Verifies that the stream ends there.
            let segment = self.segment_at(&extent, extent.last_segment);
            let mut buffer = vec![0; segment.len];
            seek(input, layout.segment_offset(segment.index))?;
            self.read_segment(&segment, input, &mut buffer)?;
            let opened = self.open_segment(&cipher, &segment, &mut buffer)?;
            extent.plaintext_len = layout.plaintext_offset(segment.index) + opened.len() as u64;
        }
        let (plaintext_len, last) = (extent.plaintext_len, extent.last_segment);
        let end = len.map_or(Some(plaintext_len), |len| offset.checked_add(len));
        let Some(end) = end.filter(|end| offset <= *end && *end <= plaintext_len) else {
            return Err(Error::OutOfRange { offset, len, plaintext_len });
        };
        if offset == end {
            return Ok(0);
        }
        let (mut next, stop) = (layout.segment_containing(offset), layout.segment_containing(end - 1));
        if stop > last {
            return Err(Error::Truncated { at: extent.sealed_len, inside: format!("segment {last}") });
        }
        seek(input, layout.segment_offset(next))?;
        process_in_order(
            threads,
            output.memory(),
            layout.segment_len,
            |buffer, _| {
                if next > stop {
                    return Ok(None);
                }
                let segment = self.segment_at(&extent, next);
                self.read_segment(&segment, input, buffer)?;
                next += 1;
                Ok(Some(segment))
            },
            || {
                |segment: Segment, buffer: &mut [u8]| {
                    let from = layout.plaintext_offset(segment.index);
                    let opened = self.open_segment(&cipher, &segment, buffer)?;
                    let within = |at: u64| (at.saturating_sub(from) as usize).min(opened.end);
                    Ok(within(offset)..within(end))
                }
            },
            |buffer, range| output.write_from(buffer, range).map_err(Error::Write),
        )?;
        output.flush().map_err(Error::Write)?;
        Ok(end - offset)
    }

    /// Derives the keys of the stream in a complete file, and its extent from the length of
    /// the file and from the header, which is not verified by the last segment yet.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Read`].
    pub(crate) fn stream_extent(&self, input: &mut (impl Read + Seek)) -> Result<(SegmentCipher, SealedExtent), Error> {
        let layout = self.header().layout();
        let sealed_len = input.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        let extent = layout.extent_from_len(sealed_len)?;
        seek(input, layout.header_len as u64)?;
        let plaintext_len = self.header().plaintext_len().unwrap_or(extent.plaintext_len);
        Ok((self.cipher(input)?, SealedExtent { sealed_len, last_segment: extent.last_segment, plaintext_len }))
    }

    /// Reads the stream header and derives the keys of the stream.
    pub(crate) fn cipher(&self, input: &mut impl Read) -> Result<SegmentCipher, Error> {
        let header = self.header();
        let mut bytes = [0; STREAM_HEADER_LEN];
        let got = read_full(input, &mut bytes)?;
        if got < bytes.len() {
            let at = (header.as_bytes().len() + got) as u64;
            return Err(Error::Truncated { at, inside: "the stream header".to_owned() });
        }
        SegmentCipher::new(header.suite(), self.stream_key(), &bytes, &header.associated_data())
            .ok_or(Error::Corrupt { segment: 0, offset: header.as_bytes().len() as u64 })
    }

    /// Opens the segment at the start of `buffer` in place. Returns the range of the
    /// plaintext in `buffer`.
    pub(crate) fn open_segment(
        &self,
        cipher: &SegmentCipher,
        segment: &Segment,
        buffer: &mut [u8],
    ) -> Result<Range<usize>, Error> {
        let header = self.header();
        let layout = header.layout();
        let tag_len = layout.suite.tag_len();
        let at = layout.segment_offset(segment.index) + segment.len as u64;
        if segment.len < tag_len {
            return Err(Error::Truncated { at, inside: format!("segment {}", segment.index) });
        }
        // If no length is declared, a full segment at the end can be the damaged last one or the end of a truncated
        // file. It is the latter if its tag is valid for a segment that is not the last.
        let is_full = segment.len == layout.full_segment_len(segment.index);
        let may_be_truncated = segment.last && header.plaintext_len().is_none() && is_full;
        let copy = may_be_truncated.then(|| buffer[..segment.len].to_vec());
        let Ok(len) = cipher.open(segment.index, segment.last, &mut buffer[..segment.len]) else {
            if copy.is_some_and(|mut copy| cipher.open(segment.index, false, &mut copy).is_ok()) {
                return Err(Error::Truncated { at, inside: format!("segment {}", segment.index) });
            }
            return Err(self.tag_error(segment, at));
        };
        if segment.last && segment.index > 0 && len == 0 {
            // Stricter than Tink: only an empty plaintext has an empty last segment.
            return Err(Error::Corrupt { segment: segment.index, offset: layout.segment_offset(segment.index) });
        }
        let actual = layout.plaintext_offset(segment.index) + len as u64;
        match header.plaintext_len() {
            Some(declared) if segment.last && actual != declared => Err(Error::LengthMismatch { declared, actual }),
            _ => Ok(0..len),
        }
    }

    /// Returns the error for a segment that ends at offset `at` and has an invalid tag. If
    /// the header declares a length, truncated and trailing data are distinguished from
    /// damage.
    fn tag_error(&self, segment: &Segment, at: u64) -> Error {
        let header = self.header();
        let offset = header.layout().segment_offset(segment.index);
        match header.sealed_len() {
            Some(sealed_len) if segment.last && at < sealed_len => {
                Error::Truncated { at, inside: format!("segment {}", segment.index) }
            }
            // The real last segment is full, and was not read as the last because bytes follow it.
            Some(sealed_len) if at > sealed_len || (at == sealed_len && !segment.last) => {
                Error::Trailing { offset: sealed_len }
            }
            _ => Error::Corrupt { segment: segment.index, offset },
        }
    }

    /// Reads all bytes of `segment` to the start of `buffer`.
    pub(crate) fn read_segment(
        &self,
        segment: &Segment,
        input: &mut impl Read,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let got = read_full(input, &mut buffer[..segment.len])?;
        if got == segment.len {
            return Ok(());
        }
        let at = self.header().layout().segment_offset(segment.index) + got as u64;
        Err(Error::Truncated { at, inside: format!("segment {}", segment.index) })
    }
}

pub(crate) fn seek(input: &mut impl Seek, to: u64) -> Result<(), Error> {
    input.seek(SeekFrom::Start(to)).map(drop).map_err(Error::Read)
}
