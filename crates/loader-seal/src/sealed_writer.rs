//! Sealing what is written, in the thread that writes.

use crate::cipher::{SegmentCipher, new_stream_header};
use crate::{Error, Header, Key, SealOptions, Unlocked};
use std::io::{self, Write};

/// Seals the bytes that are written to it. The length of the plaintext is not declared.
/// Holds one segment.
pub struct SealedWriter<W> {
    unlocked: Unlocked,
    cipher: SegmentCipher,
    output: W,
    /// Plaintext of the next segment.
    buffer: Vec<u8>,
    filled: usize,
    index: u64,
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
        let unlocked = crate::seal::new_header(keys, &options)?;
        let layout = *unlocked.header().layout();
        let stream_header = new_stream_header()?;
        let header = unlocked.header();
        let cipher = SegmentCipher::new(layout.suite, unlocked.stream_key(), &stream_header, &header.associated_data())
            .ok_or(Error::malformed("the stream header"))?;
        let head = [header.as_bytes(), &stream_header].concat();
        output.write_all(&head).map_err(Error::Write)?;
        Ok(Self { unlocked, cipher, output, buffer: vec![0; layout.segment_len], filled: 0, index: 0 })
    }

    /// Seals the last segment. Returns the header. Without this call the file is truncated.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Unsupported`] if there are more than 2^32 segments.
    pub fn finish(mut self) -> Result<Header, Error> {
        self.write_segment(true)?;
        self.output.flush().map_err(Error::Write)?;
        Ok(self.unlocked.header().clone())
    }

    fn write_segment(&mut self, last: bool) -> Result<(), Error> {
        let sealed = self.cipher.seal(self.index, last, &mut self.buffer, self.filled);
        let len = sealed.ok_or_else(|| Error::Unsupported("more than 2^32 segments".to_owned()))?;
        self.output.write_all(&self.buffer[..len]).map_err(Error::Write)?;
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
    use crate::Suite;

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
}
