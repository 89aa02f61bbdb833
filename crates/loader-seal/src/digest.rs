//! Copying with a count and a SHA-256 (FIPS 180-4) of what passes.

use crate::Error;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{ErrorKind, Read, Write};

/// Bytes that are read at once: as much as a read from a pipe gives on most
/// systems, and far from what would show in the resident set.
pub(crate) const BUFFER_LEN: usize = 256 * 1024;

/// Length and SHA-256 of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256, 32 bytes.
    pub sha256: [u8; 32],
}

impl Digest {
    /// The SHA-256 as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        Hex(&self.sha256).to_string()
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Copies `reader` to its end into `writer`, and gives length and SHA-256 of what
/// passed.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Write`], by the side that failed.
pub fn copy_digest(reader: impl Read, writer: impl Write) -> Result<Digest, Error> {
    let mut tally = Tally::new(writer);
    tally.take(reader, u64::MAX)?;
    Ok(tally.finish())
}

/// A writer that counts and hashes what it is given.
pub(crate) struct Tally<W> {
    writer: W,
    len: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl<W: Write> Tally<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, len: 0, hash: Sha256::new(), buffer: vec![0; BUFFER_LEN] }
    }

    /// Copies up to `limit` bytes of `reader`; fewer only at its end. Gives how many.
    pub(crate) fn take(&mut self, mut reader: impl Read, limit: u64) -> Result<u64, Error> {
        let mut left = limit;
        loop {
            // None at the limit, and so nothing is read.
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

/// One read that is not interrupted; 0 at the end.
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
    fn what_passes_is_counted_and_hashed() {
        let mut out = Vec::new();
        let digest = copy_digest(&b"abc"[..], &mut out).unwrap();
        assert_eq!((digest.len, &out[..]), (3, &b"abc"[..]));
        // FIPS 180-4, example of one block
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_read_that_was_interrupted_is_made_again() {
        struct Once(bool);
        impl Read for Once {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) { Err(ErrorKind::Interrupted.into()) } else { (&b""[..]).read(buffer) }
            }
        }
        assert_eq!(copy_digest(Once(true).chain(&b"abc"[..]), io::sink()).unwrap().len, 3);
    }

    #[test]
    fn the_side_that_fails_is_named() {
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
