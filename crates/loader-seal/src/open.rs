//! Opening a stream: verified bytes only, in order.

use crate::cipher::SegmentCipher;
use crate::header::read_up_to;
use crate::layout::STREAM_HEADER_LEN;
use crate::seal::{Segment, Segments};
use crate::{Error, Unlocked, ordered};
use loader_pipe::Sink;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

impl Unlocked {
    /// Opens the stream that follows the header, read to the end of `input`, and
    /// writes its plaintext to `output`. Gives the plaintext's length in bytes. A
    /// segment is written only after its tag was checked and all before it were
    /// written. Memory is one [`loader_pipe::Buffer`] a thread.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Truncated`], [`Error::Trailing`],
    /// [`Error::LengthMismatch`]: the right prefix, and nothing else, was written.
    /// [`Error::Read`], [`Error::Write`].
    pub fn open(
        &self,
        input: &mut (impl Read + Send),
        output: &mut (impl Sink + Send),
        threads: usize,
    ) -> Result<u64, Error> {
        let layout = *self.header().layout();
        let cipher = self.cipher(input)?;
        let mut segments = Segments::new(input, 0);
        let mut plaintext_len = 0;
        ordered::run(
            threads,
            output.memory(),
            layout.segment_len + 1,
            |buffer, stopped| segments.next(buffer, layout.full(segments.index), stopped),
            |segment, buffer| self.open_segment(&cipher, &segment, buffer),
            |buffer, range| {
                plaintext_len += range.len() as u64;
                output.write_from(buffer, range).map_err(Error::Write)
            },
        )?;
        output.flush().map_err(Error::Write)?;
        Ok(plaintext_len)
    }

    /// Opens only the segments that hold `len` bytes of plaintext from `offset` on
    /// (without `len`: the rest) and writes those bytes; gives their number.
    /// `input` is the whole file. Where the header does not declare the plaintext's
    /// length, the last segment is checked first.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and those of [`Unlocked::open`].
    pub fn open_range(
        &self,
        input: &mut (impl Read + Seek + Send),
        output: &mut (impl Sink + Send),
        offset: u64,
        len: Option<u64>,
        threads: usize,
    ) -> Result<u64, Error> {
        let layout = *self.header().layout();
        let sealed_len = input.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        let (last, by_size) = layout.shape_of(sealed_len)?;
        seek(input, layout.header_len as u64)?;
        let cipher = self.cipher(input)?;
        let plaintext_len = match self.header().plaintext_len() {
            Some(declared) => declared,
            None => {
                let segment = Segment { index: last, len: (sealed_len - layout.offset(last)) as usize, last: true };
                let mut buffer = vec![0; segment.len];
                seek(input, layout.offset(last))?;
                self.check_full(&segment, read_up_to(input, &mut buffer)?)?;
                self.open_segment(&cipher, &segment, &mut buffer)?;
                by_size
            }
        };
        let end = len.map_or(Some(plaintext_len), |len| offset.checked_add(len));
        let Some(end) = end.filter(|end| offset <= *end && *end <= plaintext_len) else {
            return Err(Error::OutOfRange { offset, len, plaintext_len });
        };
        if offset == end {
            return Ok(0);
        }
        let (mut next, stop) = (layout.segment_of(offset), layout.segment_of(end - 1));
        if stop > last {
            return Err(Error::Truncated { at: sealed_len, inside: format!("segment {last}") });
        }
        seek(input, layout.offset(next))?;
        ordered::run(
            threads,
            output.memory(),
            layout.segment_len,
            |buffer, _| {
                if next > stop {
                    return Ok(None);
                }
                let full = layout.full(next) as u64;
                let len = full.min(sealed_len.saturating_sub(layout.offset(next))) as usize;
                let segment = Segment { index: next, len, last: next == last };
                self.check_full(&segment, read_up_to(input, &mut buffer[..len])?)?;
                next += 1;
                Ok(Some(segment))
            },
            |segment, buffer| {
                let from = layout.plaintext_offset(segment.index);
                let opened = self.open_segment(&cipher, &segment, buffer)?;
                let within = |at: u64| (at.saturating_sub(from) as usize).min(opened.end);
                Ok(within(offset)..within(end))
            },
            |buffer, range| output.write_from(buffer, range).map_err(Error::Write),
        )?;
        output.flush().map_err(Error::Write)?;
        Ok(end - offset)
    }

    /// Reads the stream's own header and derives its keys.
    fn cipher(&self, input: &mut impl Read) -> Result<SegmentCipher, Error> {
        let header = self.header();
        let mut bytes = [0; STREAM_HEADER_LEN];
        let got = read_up_to(input, &mut bytes)?;
        if got < bytes.len() {
            let at = (header.as_bytes().len() + got) as u64;
            return Err(Error::Truncated { at, inside: "the stream header".to_owned() });
        }
        SegmentCipher::new(header.suite(), self.stream_key(), &bytes, header.bound())
            .ok_or(Error::Corrupt { segment: 0, offset: header.as_bytes().len() as u64 })
    }

    /// Opens the segment at the front of `buffer` in place; gives the plaintext's
    /// place in it.
    fn open_segment(
        &self,
        cipher: &SegmentCipher,
        segment: &Segment,
        buffer: &mut [u8],
    ) -> Result<Range<usize>, Error> {
        let header = self.header();
        let layout = header.layout();
        let tag_len = layout.suite.tag_len();
        let at = layout.offset(segment.index) + segment.len as u64;
        if segment.len < tag_len {
            return Err(Error::Truncated { at, inside: format!("segment {}", segment.index) });
        }
        // Without a declared length only its tag tells a full segment at a cut from a damaged last one.
        let at_border = segment.last && header.plaintext_len().is_none() && segment.len == layout.full(segment.index);
        let copy = at_border.then(|| buffer[..segment.len].to_vec());
        let Ok(len) = cipher.open(segment.index, segment.last, &mut buffer[..segment.len]) else {
            if copy.is_some_and(|mut copy| cipher.open(segment.index, false, &mut copy).is_ok()) {
                return Err(Error::Truncated { at, inside: format!("segment {}", segment.index) });
            }
            return Err(self.explain(segment, at));
        };
        if segment.last && segment.index > 0 && len == 0 {
            // No writer of this format ends with an empty segment.
            return Err(Error::Corrupt { segment: segment.index, offset: layout.offset(segment.index) });
        }
        let actual = layout.plaintext_offset(segment.index) + len as u64;
        match header.plaintext_len() {
            Some(declared) if segment.last && actual != declared => Err(Error::LengthMismatch { declared, actual }),
            _ => Ok(0..len),
        }
    }

    /// Why a segment that ends at offset `at` fails its check: with a declared
    /// length, a file that ends early or late is told from a damaged one.
    fn explain(&self, segment: &Segment, at: u64) -> Error {
        let header = self.header();
        let damaged = Error::Corrupt { segment: segment.index, offset: header.layout().offset(segment.index) };
        match header.sealed_len() {
            Some(sealed_len) if segment.last && at < sealed_len => {
                Error::Truncated { at, inside: format!("segment {}", segment.index) }
            }
            // A full last segment with bytes behind it was not read as the last.
            Some(sealed_len) if at > sealed_len || (at == sealed_len && !segment.last) => {
                Error::Trailing { offset: sealed_len }
            }
            _ => damaged,
        }
    }

    fn check_full(&self, segment: &Segment, got: usize) -> Result<(), Error> {
        if got == segment.len {
            return Ok(());
        }
        let at = self.header().layout().offset(segment.index) + got as u64;
        Err(Error::Truncated { at, inside: format!("segment {}", segment.index) })
    }
}

fn seek(input: &mut impl Seek, to: u64) -> Result<(), Error> {
    input.seek(SeekFrom::Start(to)).map(drop).map_err(Error::Read)
}
