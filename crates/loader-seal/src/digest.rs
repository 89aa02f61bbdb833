//! Copying bytes and calculating their length and SHA-256 (FIPS 180-4).

use crate::Error;
use sha2::{Digest as _, Sha256};
use std::io::{ErrorKind, Read, Write};

/// Number of bytes per read: a multiple of the default pipe size of Linux, and small
/// compared to the resident set of a filter.
pub(crate) const BUFFER_LEN: usize = 256 * 1024;

/// Length and SHA-256 of a sequence of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256, 32 bytes.
    pub sha256: [u8; 32],
}

impl Digest {
    /// Returns the SHA-256 as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Copies `reader` to `writer` up to the end. Returns length and SHA-256 of the bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`].
pub fn copy_digest(reader: impl Read, writer: impl Write) -> Result<Digest, Error> {
    let mut hasher = HashingWriter::new(writer);
    hasher.copy_from(reader, u64::MAX)?;
    Ok(hasher.finish())
}

/// Writer that counts and hashes the bytes.
pub(crate) struct HashingWriter<W> {
    writer: W,
    len: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, len: 0, hash: Sha256::new(), buffer: vec![0; BUFFER_LEN] }
    }

    /// Copies up to `limit` bytes from `reader`, fewer only if it ends. Returns the number
    /// of bytes.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub(crate) fn copy_from(&mut self, mut reader: impl Read, limit: u64) -> Result<u64, Error> {
        let mut left = limit;
        loop {
            // At the limit the buffer is empty, and the read returns 0.
            let room = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = read_some(&mut reader, &mut self.buffer[..room])?;
            if read == 0 {
                break;
            }
            self.hash.update(&self.buffer[..read]);
            self.writer.write_all(&self.buffer[..read]).map_err(Error::Write)?;
            self.len += read as u64;
            left -= read as u64;
        }
        Ok(limit - left)
    }

    pub(crate) fn finish(self) -> Digest {
        Digest { len: self.len, sha256: self.hash.finalize().into() }
    }
}

/// Reads once, and retries if the read is interrupted. Returns the number of bytes, 0 at
/// the end.
pub(crate) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome.map_err(Error::Read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn copied_bytes_are_counted_and_hashed() {
        let mut out = Vec::new();
        let digest = copy_digest(&b"abc"[..], &mut out).unwrap();
        assert_eq!((digest.len, &out[..]), (3, &b"abc"[..]));
        // FIPS 180-4, example of one block
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn interrupted_read_is_retried() {
        struct Once(bool);
        impl Read for Once {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) { Err(ErrorKind::Interrupted.into()) } else { (&b""[..]).read(buffer) }
            }
        }
        assert_eq!(copy_digest(Once(true).chain(&b"abc"[..]), io::sink()).unwrap().len, 3);
    }

    #[test]
    fn read_and_write_errors_are_distinguished() {
        let full: &mut [u8] = &mut [0; 2];
        assert!(matches!(copy_digest(&b"abc"[..], full), Err(Error::Write(_))));
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        assert!(matches!(copy_digest(Broken, io::sink()), Err(Error::Read(_))));
    }
}
