//! The old content, at any position.

use loader_pack::PieceReader;
use std::io::{self, Read, Seek};

/// Content of a release that can be read at any position.
pub trait OldContent {
    /// Returns its length in bytes.
    fn content_len(&self) -> u64;

    /// Fills `bytes` with the content from `offset`, which is within the content.
    ///
    /// # Errors
    /// Those of the source.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl<R: Read + Seek> OldContent for PieceReader<R> {
    fn content_len(&self) -> u64 {
        self.statement().content_len()
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        Self::read_at(self, offset, bytes).map_err(|error| match error {
            loader_pack::Error::Read(error) => error,
            other => io::Error::other(other),
        })
    }
}

impl OldContent for &[u8] {
    fn content_len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
