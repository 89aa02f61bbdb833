//! Sealing what is written, in the thread that writes.

use crate::cipher::{SegmentCipher, new_stream_header};
use crate::layout::STREAM_HEADER_LEN;
use crate::seal::NewFile;
use crate::{Error, Header, Key, SealOptions, Unlocked};
use std::io::{self, Write};

/// Seals the bytes that are written to it. The length of the plaintext is not declared.
/// Holds one segment.
pub struct SealedWriter<W> {
    file: NewFile,
    options: SealOptions,
    unlocked: Unlocked,
    cipher: SegmentCipher,
    output: W,
    /// Plaintext of the next segment.
    buffer: Vec<u8>,
    filled: usize,
    index: u64,
    /// Length in bytes of the stream so far.
    written: u64,
}

impl<W: Write> SealedWriter<W> {
    /// Writes a header with a slot for each of `keys`. [`SealOptions::plaintext_len`] and
    /// [`SealOptions::threads`] are ignored.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no key, the segment length is out of bounds, or the
    /// fields do not fit in a header; [`Error::Write`], [`Error::Random`].
    pub fn new(mut output: W, keys: &[Key], options: &SealOptions) -> Result<Self, Error> {
        let options = SealOptions { plaintext_len: None, ..options.clone() };
        let file = NewFile::new(keys, &options)?;
        let unlocked = file.header(&options)?;
        let layout = *unlocked.header().layout();
        let stream_header = new_stream_header()?;
        let header = unlocked.header();
        let cipher = SegmentCipher::new(layout.suite, unlocked.stream_key(), &stream_header, &header.associated_data())
            .ok_or(Error::malformed("the stream header"))?;
        let head = [header.as_bytes(), &stream_header].concat();
        output.write_all(&head).map_err(Error::Write)?;
        let buffer = vec![0; layout.segment_len];
        let written = STREAM_HEADER_LEN as u64;
        Ok(Self { file, options, unlocked, cipher, output, buffer, filled: 0, index: 0, written })
    }

    /// Seals the last segment. Returns the header. Without this call the file is truncated.
    /// If the metadata has a length of the stream, it is right in this header, which can
    /// replace the one at the start of the file: it has the same length.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Unsupported`] if there are more than 2^32 segments.
    pub fn finish(mut self) -> Result<Header, Error> {
        self.write_segment(true)?;
        self.output.flush().map_err(Error::Write)?;
        let len = &mut self.file.fields.metadata.stream_len;
        *len = len.map(|_| self.written);
        Ok(self.file.header(&self.options)?.header().clone())
    }

    fn write_segment(&mut self, last: bool) -> Result<(), Error> {
        let sealed = self.cipher.seal(self.index, last, &mut self.buffer, self.filled);
        let len = sealed.ok_or_else(|| Error::Unsupported("more than 2^32 segments".to_owned()))?;
        self.output.write_all(&self.buffer[..len]).map_err(Error::Write)?;
        self.written += len as u64;
        self.index += 1;
        self.filled = 0;
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let capacity = self.unlocked.header().layout().plaintext_capacity(self.index);
        // A full segment is written when more bytes follow: the last one is marked.
        if self.filled == capacity && !bytes.is_empty() {
            self.write_segment(false)?;
            return self.write(bytes);
        }
        let len = bytes.len().min(capacity - self.filled);
        self.buffer[self.filled..self.filled + len].copy_from_slice(&bytes[..len]);
        self.filled += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metadata, Suite};

    #[test]
    fn written_bytes_open_as_one_stream() {
        for suite in [Suite::AesCtrHmac, Suite::AesGcm] {
            for len in [0, 1, 4023, 4024, 4040, 4041, 8120, 8121, 20_000] {
                let plaintext: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let key = Key::generate().unwrap();
                let options = SealOptions { segment_log2: 12, suite, ..SealOptions::default() };
                let mut file = Vec::new();
                let mut writer = SealedWriter::new(&mut file, std::slice::from_ref(&key), &options).unwrap();
                for piece in plaintext.chunks(997) {
                    writer.write_all(piece).unwrap();
                }
                writer.finish().unwrap();
                let mut input = &file[..];
                let unlocked = Header::read(&mut input).unwrap().unlock(&[key]).unwrap();
                let mut opened = Vec::new();
                assert_eq!(unlocked.open(&mut input, &mut opened, 1).unwrap(), len as u64);
                assert!(opened == plaintext, "{suite:?} {len}");
            }
        }
    }

    #[test]
    fn header_with_the_length_of_the_stream_replaces_the_first() {
        let key = Key::generate().unwrap();
        let keys = std::slice::from_ref(&key);
        let metadata = Metadata { stream_len: Some(0), ..Metadata::default() };
        let options = SealOptions { segment_log2: 12, metadata, ..SealOptions::default() };
        let mut file = Vec::new();
        let mut writer = SealedWriter::new(&mut file, keys, &options).unwrap();
        writer.write_all(&[7; 10_000]).unwrap();
        let header = writer.finish().unwrap();
        let sealed_len = file.len() as u64;
        let first = Header::read(&mut &file[..]).unwrap();
        assert_eq!((first.sealed_len(), header.sealed_len()), (None, Some(sealed_len)));
        file[..header.as_bytes().len()].copy_from_slice(header.as_bytes());
        let open = |file: &[u8]| {
            let mut input = file;
            let unlocked = Header::read(&mut input).unwrap().unlock(keys).unwrap();
            let from_file = unlocked.opened_file(std::io::Cursor::new(file)).map(drop);
            (unlocked.open(&mut input, &mut Vec::new(), 1), from_file)
        };
        assert!(matches!(open(&file), (Ok(10_000), Ok(()))));
        let cut = &file[..file.len() - 5];
        assert!(matches!(open(cut), (Err(Error::Truncated { .. }), Err(Error::Truncated { .. }))));
        file.push(0);
        assert!(matches!(open(&file), (Err(Error::Trailing { .. }), Err(Error::Trailing { .. }))));
    }
}
