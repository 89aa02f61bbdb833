//! Reading a file twice: once to check its digest, and once to use its content. The
//! second pass detects changes, so that only bytes that the first pass has read are used
//! even if another process writes to the file.

use crate::Error;
use crate::digest::{BUFFER_LEN, read_some};
use crate::header::read_full;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Maximum number of blocks (2 MiB of digests) for files of up to 1 TiB. Blocks of longer
/// files have [`BLOCK_LEN_MAX`].
const BLOCKS_MAX: u64 = 65536;

/// Maximum length of a block in bytes.
const BLOCK_LEN_MAX: u64 = 16 << 20;

/// Result of the first pass: for each block, the SHA-256 of the file from its start to
/// the end of the block.
///
/// Blocks are 256 KiB for files of up to 16 GiB, then longer, up to 16 MiB, so that there
/// are at most 65536 of them in files of up to 1 TiB. Uses 32 bytes of memory per block;
/// a [`VerifiedReader`] uses one block more.
pub struct DigestPass {
    block_len: usize,
    prefix_digests: Vec<[u8; 32]>,
}

impl DigestPass {
    /// Reads `reader` to its end. `len` is the expected length in bytes, which determines
    /// the length of the blocks.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(mut reader: impl Read, len: u64) -> Result<Self, Error> {
        let block_len = block_len(len);
        let mut buffer = vec![0; BUFFER_LEN];
        let (mut hash, mut prefix_digests, mut in_block) = (Sha256::new(), Vec::new(), 0);
        loop {
            let room = buffer.len().min(block_len - in_block);
            let read = read_some(&mut reader, &mut buffer[..room])?;
            hash.update(&buffer[..read]);
            in_block += read;
            if in_block == block_len || read == 0 {
                prefix_digests.push(hash.clone().finalize().into());
                in_block = 0;
            }
            if read == 0 {
                return Ok(Self { block_len, prefix_digests });
            }
        }
    }

    /// Returns the SHA-256 of the complete file, 32 bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.prefix_digests.last().copied().unwrap_or_default()
    }

    /// Returns a reader for the second pass. `reader` is at the position at which the
    /// first pass started.
    pub fn reread<R: Read>(self, reader: R) -> VerifiedReader<R> {
        let buffer = vec![0; self.block_len];
        VerifiedReader {
            expected: self,
            reader,
            hash: Sha256::new(),
            next_block: 0,
            buffer,
            position: 0,
            end: 0,
            changed: false,
        }
    }
}

/// Reader of the second pass. If a block has changed since the first pass, reading fails
/// with [`io::ErrorKind::InvalidData`] before the first byte of that block is returned.
pub struct VerifiedReader<R> {
    expected: DigestPass,
    reader: R,
    hash: Sha256,
    next_block: usize,
    buffer: Vec<u8>,
    position: usize,
    end: usize,
    changed: bool,
}

impl<R: Read> VerifiedReader<R> {
    /// Returns true if reading failed because the file has changed.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    fn read_block(&mut self) -> io::Result<()> {
        let Some(expected) = self.expected.prefix_digests.get(self.next_block) else { return Ok(()) };
        let len = read_full(&mut self.reader, &mut self.buffer).map_err(|error| match error {
            Error::Read(error) => error,
            other => io::Error::other(other),
        })?;
        self.hash.update(&self.buffer[..len]);
        let actual: [u8; 32] = self.hash.clone().finalize().into();
        if actual != *expected {
            self.changed = true;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "changed while it was read"));
        }
        (self.position, self.end, self.next_block) = (0, len, self.next_block + 1);
        Ok(())
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.end {
            self.read_block()?;
        }
        let len = buffer.len().min(self.end - self.position);
        buffer[..len].copy_from_slice(&self.buffer[self.position..self.position + len]);
        self.position += len;
        Ok(len)
    }
}

/// Returns the length in bytes of the blocks of a file of `len` bytes.
fn block_len(len: u64) -> usize {
    let power_of_two = len.div_ceil(BLOCKS_MAX).checked_next_power_of_two().unwrap_or(BLOCK_LEN_MAX);
    power_of_two.clamp(BUFFER_LEN as u64, BLOCK_LEN_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_digest;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn unchanged_file_is_returned() {
        for len in [0, 1, BUFFER_LEN - 1, BUFFER_LEN, BUFFER_LEN + 1, 3 * BUFFER_LEN] {
            let file = bytes(len);
            let first = DigestPass::read(&file[..], len as u64).unwrap();
            assert_eq!(first.sha256(), copy_digest(&file[..], io::sink()).unwrap().sha256, "{len}");
            let mut out = Vec::new();
            assert_eq!(first.reread(&file[..]).read_to_end(&mut out).unwrap(), len);
            assert!(out == file, "{len}");
        }
    }

    #[test]
    fn blocks_do_not_depend_on_the_sizes_of_reads() {
        struct Pieces<'a>(&'a [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let len = buffer.len().min(100_003);
                self.0.read(&mut buffer[..len])
            }
        }
        let file = bytes(3 * BUFFER_LEN + 5);
        let whole = DigestPass::read(&file[..], file.len() as u64).unwrap();
        let pieces = DigestPass::read(Pieces(&file), file.len() as u64).unwrap();
        assert_eq!((whole.block_len, &whole.prefix_digests), (pieces.block_len, &pieces.prefix_digests));
        let mut out = Vec::new();
        whole.reread(Pieces(&file)).read_to_end(&mut out).unwrap();
        assert!(out == file);
    }

    #[test]
    fn no_byte_of_a_changed_block_is_returned() {
        let file = bytes(3 * BUFFER_LEN + 5);
        let border = BUFFER_LEN;
        for (at, before) in [(0, 0), (border - 1, 0), (border, border), (3 * border, 3 * border)] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let longer = [&file[..], b"x"].concat();
            for (second, before) in [(&changed[..], before), (&longer, 3 * border), (&file[..at], at / border * border)]
            {
                let mut reader = DigestPass::read(&file[..], file.len() as u64).unwrap().reread(second);
                let mut out = Vec::new();
                let error = reader.read_to_end(&mut out).unwrap_err();
                assert_eq!((error.kind(), reader.is_changed()), (io::ErrorKind::InvalidData, true));
                assert!(out == file[..before], "{at}: {} bytes", out.len());
            }
        }
        // The file consists of complete blocks, and bytes are appended.
        let even = bytes(2 * border);
        let mut reader = DigestPass::read(&even[..], 0).unwrap().reread(&file[..]);
        let mut out = Vec::new();
        assert!(reader.read_to_end(&mut out).is_err() && out.len() == 2 * border);
    }

    #[test]
    fn number_and_length_of_blocks_are_bounded() {
        for (len, block) in [(0, 256 << 10), (16 << 30, 256 << 10), (64 << 30, 1 << 20), (1 << 40, 16 << 20)] {
            assert_eq!(block_len(len), block, "{len}");
            assert!(len / block as u64 <= BLOCKS_MAX);
        }
        assert_eq!(block_len(u64::MAX), 16 << 20);
    }
}
