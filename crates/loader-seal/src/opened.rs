//! The plaintext of a stream as a reader, for content that is decoded further.
//!
//! Both readers open one segment at a time in the thread that reads. They return only
//! verified bytes. Their errors are [`io::Error`]s; [`Error::from_io`] returns the
//! [`Error`] that one contains.

use crate::cipher::SegmentCipher;
use crate::layout::STREAM_HEADER_LEN;
use crate::open::seek;
use crate::seal::{Segment, SegmentReader};
use crate::{Error, Unlocked};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Plaintext of a stream that is read from its start.
pub struct OpenedStream<'a, R> {
    unlocked: &'a Unlocked,
    cipher: SegmentCipher,
    segments: SegmentReader<R>,
    buffer: Vec<u8>,
    /// Plaintext in `buffer` that was not returned yet.
    unread: Range<usize>,
    /// After an error, nothing more is returned.
    is_failed: bool,
}

impl Unlocked {
    /// Returns a reader of the plaintext. `input` starts after the header; if it returns
    /// [`io::ErrorKind::WouldBlock`], the reader does so too and can be read again.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`] for the stream header; [`Error::Read`].
    pub fn opened_stream<R: Read>(&self, mut input: R) -> Result<OpenedStream<'_, R>, Error> {
        let cipher = self.cipher(&mut input)?;
        let buffer = vec![0; self.header().layout().segment_len + 1];
        Ok(OpenedStream {
            unlocked: self,
            cipher,
            segments: SegmentReader::new(input),
            buffer,
            unread: 0..0,
            is_failed: false,
        })
    }

    /// Returns a reader of the plaintext at any position. `input` is the complete file, with
    /// its header. Verifies the last segment, so that the length is known.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Trailing`],
    /// [`Error::LengthMismatch`], [`Error::Read`].
    pub fn opened_file<R: Read + Seek>(&self, mut input: R) -> Result<OpenedFile<'_, R>, Error> {
        let (cipher, extent) = self.stream_extent(&mut input)?;
        self.check_sealed_len(extent.sealed_len, extent.last_segment)?;
        let buffer = vec![0; self.header().layout().segment_len];
        let mut file = OpenedFile { unlocked: self, cipher, input, extent, buffer, cached: None, position: 0 };
        file.load(file.extent.last_segment)?;
        let layout = self.header().layout();
        if let Some((_, range)) = &file.cached {
            file.extent.plaintext_len = layout.plaintext_offset(file.extent.last_segment) + range.len() as u64;
        }
        Ok(file)
    }
}

impl<R: Read> Read for OpenedStream<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() && !self.is_failed {
            let full_len = self.unlocked.header().layout().full_segment_len(self.segments.index);
            let Some(segment) = self.segments.fill(&mut self.buffer, full_len)? else { return Ok(0) };
            self.is_failed = true;
            let opened = self.unlocked.open_segment(&self.cipher, &segment, &mut self.buffer)?;
            if segment.last {
                let header_len = self.unlocked.header().as_bytes().len() + STREAM_HEADER_LEN;
                self.unlocked.check_sealed_len(header_len as u64 + self.segments.total_len, segment.index)?;
            }
            (self.unread, self.is_failed) = (opened, false);
        }
        let len = self.unread.len().min(buffer.len());
        let start = self.unread.start;
        buffer[..len].copy_from_slice(&self.buffer[start..start + len]);
        self.unread.start += len;
        Ok(len)
    }
}

/// Length of a sealed file and the extent of its stream.
pub(crate) struct SealedExtent {
    /// Length of the file in bytes.
    pub(crate) sealed_len: u64,
    /// Number of the last segment.
    pub(crate) last_segment: u64,
    /// Length of the plaintext in bytes.
    pub(crate) plaintext_len: u64,
}

/// Plaintext of a file, at any position. Holds one segment.
pub struct OpenedFile<'a, R> {
    unlocked: &'a Unlocked,
    cipher: SegmentCipher,
    input: R,
    extent: SealedExtent,
    buffer: Vec<u8>,
    /// Number of the segment in `buffer`, and the range of its plaintext there.
    cached: Option<(u64, Range<usize>)>,
    position: u64,
}

impl<R> OpenedFile<'_, R> {
    /// Returns the length of the plaintext in bytes.
    pub fn plaintext_len(&self) -> u64 {
        self.extent.plaintext_len
    }
}

impl<R: Read + Seek> OpenedFile<'_, R> {
    /// Reads and opens segment `index`, unless it is in the buffer.
    fn load(&mut self, index: u64) -> Result<(), Error> {
        if self.cached.as_ref().is_some_and(|(cached, _)| *cached == index) {
            return Ok(());
        }
        self.cached = None;
        let segment = self.unlocked.segment_at(&self.extent, index);
        let offset = self.unlocked.header().layout().segment_offset(index);
        seek(&mut self.input, offset)?;
        self.unlocked.read_segment(&segment, &mut self.input, &mut self.buffer)?;
        let range = self.unlocked.open_segment(&self.cipher, &segment, &mut self.buffer)?;
        self.cached = Some((index, range));
        Ok(())
    }
}

impl<R: Read + Seek> Read for OpenedFile<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.extent.plaintext_len || buffer.is_empty() {
            return Ok(0);
        }
        let layout = *self.unlocked.header().layout();
        let index = layout.segment_containing(self.position);
        self.load(index)?;
        let Some((_, range)) = &self.cached else { return Ok(0) };
        let start = range.start + (self.position - layout.plaintext_offset(index)) as usize;
        let len = buffer.len().min(range.end.saturating_sub(start));
        buffer[..len].copy_from_slice(&self.buffer[start..start + len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl<R: Read + Seek> Seek for OpenedFile<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.extent.plaintext_len.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Read(error) | Error::Write(error) => error,
            other => Self::other(other),
        }
    }
}

impl Error {
    /// Returns the error that a reader of this crate has put into `error`, otherwise
    /// [`Error::Read`].
    pub fn from_io(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Read)
    }
}

impl Unlocked {
    /// Compares the length of the file, whose last segment is `last`, with the header.
    pub(crate) fn check_sealed_len(&self, sealed_len: u64, last: u64) -> Result<(), Error> {
        match self.header().sealed_len() {
            Some(declared) if sealed_len < declared => {
                Err(Error::Truncated { at: sealed_len, inside: format!("segment {last}") })
            }
            Some(declared) if sealed_len > declared => Err(Error::Trailing { offset: declared }),
            _ => Ok(()),
        }
    }

    pub(crate) fn segment_at(&self, extent: &SealedExtent, index: u64) -> Segment {
        let layout = self.header().layout();
        let full_len = layout.full_segment_len(index) as u64;
        let len = full_len.min(extent.sealed_len.saturating_sub(layout.segment_offset(index))) as usize;
        Segment { index, len, last: index == extent.last_segment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, Key, SealOptions, Suite, seal};

    fn sealed(len: usize, declared: bool) -> (Vec<u8>, Vec<u8>, Key) {
        let plaintext: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        let key = Key::generate().unwrap();
        let plaintext_len = declared.then_some(len as u64);
        let options = SealOptions { segment_log2: 12, plaintext_len, suite: Suite::AesGcm, ..SealOptions::default() };
        let mut file = Vec::new();
        seal(&mut &plaintext[..], &mut file, std::slice::from_ref(&key), &options).unwrap();
        (plaintext, file, key)
    }

    const LENGTHS: [usize; 8] = [0, 1, 4039, 4040, 4041, 8120, 8121, 20_000];

    #[test]
    fn stream_returns_the_plaintext_and_continues_after_would_block() {
        /// Returns `WouldBlock` before each byte count of its pattern.
        struct Slow<'a>(&'a [u8], bool);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let len = buffer.len().min(1001);
                self.0.read(&mut buffer[..len])
            }
        }
        for len in LENGTHS {
            let (plaintext, file, key) = sealed(len, false);
            let mut input = &file[..];
            let unlocked = Header::read(&mut input).unwrap().unlock(&[key]).unwrap();
            let mut stream = unlocked.opened_stream(Slow(input, true)).unwrap();
            let mut got = vec![0; len + 1];
            let filled = loader_pipe::read_full(&mut stream, &mut got).unwrap();
            assert!(filled == len && got[..len] == plaintext, "{len}");
        }
    }

    #[test]
    fn file_is_read_at_any_position() {
        for len in LENGTHS {
            for declared in [false, true] {
                let (plaintext, file, key) = sealed(len, declared);
                let unlocked = Header::read(&mut &file[..]).unwrap().unlock(&[key]).unwrap();
                let mut opened = unlocked.opened_file(io::Cursor::new(&file)).unwrap();
                assert_eq!(opened.plaintext_len(), len as u64);
                for offset in [0, 1, len / 2, len.saturating_sub(1), len, len + 5] {
                    opened.seek(SeekFrom::Start(offset as u64)).unwrap();
                    let mut rest = Vec::new();
                    opened.read_to_end(&mut rest).unwrap();
                    assert!(rest == plaintext[offset.min(len)..], "{len} {offset}");
                }
            }
        }
    }

    #[test]
    fn damage_is_reported_with_its_segment_and_a_cut_file_is_truncated() {
        let (plaintext, mut file, key) = sealed(20_000, false);
        let unlocked = Header::read(&mut &file[..]).unwrap().unlock(&[key]).unwrap();
        let second = unlocked.header().layout().segment_offset(1) as usize;
        file[second + 9] ^= 1;
        let mut got = Vec::new();
        let mut input = &file[unlocked.header().as_bytes().len()..];
        let error = unlocked.opened_stream(&mut input).unwrap().read_to_end(&mut got).unwrap_err();
        assert!(matches!(Error::from_io(error), Error::Corrupt { segment: 1, .. }) && got == plaintext[..4040]);
        let mut opened = unlocked.opened_file(io::Cursor::new(&file)).unwrap();
        opened.seek(SeekFrom::Start(5000)).unwrap();
        assert!(matches!(Error::from_io(opened.read(&mut [0; 9]).unwrap_err()), Error::Corrupt { segment: 1, .. }));
        opened.seek(SeekFrom::Start(9000)).unwrap();
        assert!(opened.read(&mut [0; 9]).is_ok(), "a later segment can be read");
        let cut = &file[..unlocked.header().layout().segment_offset(3) as usize];
        assert!(matches!(unlocked.opened_file(io::Cursor::new(cut)).map(drop), Err(Error::Truncated { .. })));
    }
}
