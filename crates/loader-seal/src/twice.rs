//! A file that is read twice, so that nothing leaves before its digest was
//! checked, and nothing else leaves although somebody writes to it meanwhile.

use crate::Error;
use crate::digest::{BUFFER_LEN, read_some};
use crate::header::read_up_to;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Blocks that a file is cut into at most, as long as they are not
/// [`BLOCK_MAX`]: 2 MiB of digests.
const BLOCKS_MAX: u64 = 65536;

/// Longest block in bytes.
const BLOCK_MAX: u64 = 16 << 20;

/// What a first reading found: the SHA-256 of the file's beginning up to the end
/// of each block. Memory: 32 bytes a block and, while it is read, one block. Up to
/// 16 GiB blocks are 256 KiB, up to 1 TiB they are so long that there are 65536,
/// and then 16 MiB.
pub struct FirstReading {
    block_len: usize,
    prefixes: Vec<[u8; 32]>,
}

impl FirstReading {
    /// Reads `reader`, of about `len` bytes, to its end.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn of(mut reader: impl Read, len: u64) -> Result<Self, Error> {
        let block_len = block_len(len);
        let mut buffer = vec![0; BUFFER_LEN];
        let (mut hash, mut prefixes, mut in_block) = (Sha256::new(), Vec::new(), 0);
        loop {
            let room = buffer.len().min(block_len - in_block);
            let read = read_some(&mut reader, &mut buffer[..room])?;
            hash.update(&buffer[..read]);
            in_block += read;
            if in_block == block_len || read == 0 {
                prefixes.push(hash.clone().finalize().into());
                in_block = 0;
            }
            if read == 0 {
                return Ok(Self { block_len, prefixes });
            }
        }
    }

    /// SHA-256 of the whole file, 32 bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.prefixes.last().copied().unwrap_or_default()
    }

    /// The second reading, of `reader` from where the first one began.
    pub fn again<R: Read>(self, reader: R) -> SecondReading<R> {
        let buffer = vec![0; self.block_len];
        SecondReading { first: self, reader, hash: Sha256::new(), block: 0, buffer, at: 0, end: 0, changed: false }
    }
}

/// Gives what a first reading has seen, block by block, and fails with
/// [`io::ErrorKind::InvalidData`] where there is something else now: before the
/// first byte of the block in question.
pub struct SecondReading<R> {
    first: FirstReading,
    reader: R,
    hash: Sha256,
    block: usize,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    changed: bool,
}

impl<R: Read> SecondReading<R> {
    /// True where the file is not what it was.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    fn next_block(&mut self) -> io::Result<()> {
        let Some(expected) = self.first.prefixes.get(self.block) else { return Ok(()) };
        let len = read_up_to(&mut self.reader, &mut self.buffer).map_err(|error| match error {
            Error::Read(error) => error,
            other => io::Error::other(other),
        })?;
        self.hash.update(&self.buffer[..len]);
        let actual: [u8; 32] = self.hash.clone().finalize().into();
        if actual != *expected {
            self.changed = true;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "changed while it was read"));
        }
        (self.at, self.end, self.block) = (0, len, self.block + 1);
        Ok(())
    }
}

impl<R: Read> Read for SecondReading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.end {
            self.next_block()?;
        }
        let some = buffer.len().min(self.end - self.at);
        buffer[..some].copy_from_slice(&self.buffer[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

/// Length of the blocks of a file of `len` bytes.
fn block_len(len: u64) -> usize {
    let even = len.div_ceil(BLOCKS_MAX).checked_next_power_of_two().unwrap_or(BLOCK_MAX);
    even.clamp(BUFFER_LEN as u64, BLOCK_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_digest;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn what_stays_as_it_was_comes_back() {
        for len in [0, 1, BUFFER_LEN - 1, BUFFER_LEN, BUFFER_LEN + 1, 3 * BUFFER_LEN] {
            let file = bytes(len);
            let first = FirstReading::of(&file[..], len as u64).unwrap();
            assert_eq!(first.sha256(), copy_digest(&file[..], io::sink()).unwrap().sha256, "{len}");
            let mut out = Vec::new();
            assert_eq!(first.again(&file[..]).read_to_end(&mut out).unwrap(), len);
            assert!(out == file, "{len}");
        }
    }

    #[test]
    fn blocks_are_the_same_however_the_bytes_come() {
        struct Pieces<'a>(&'a [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let len = buffer.len().min(100_003);
                self.0.read(&mut buffer[..len])
            }
        }
        let file = bytes(3 * BUFFER_LEN + 5);
        let whole = FirstReading::of(&file[..], file.len() as u64).unwrap();
        let pieces = FirstReading::of(Pieces(&file), file.len() as u64).unwrap();
        assert_eq!((whole.block_len, &whole.prefixes), (pieces.block_len, &pieces.prefixes));
        let mut out = Vec::new();
        whole.again(Pieces(&file)).read_to_end(&mut out).unwrap();
        assert!(out == file);
    }

    #[test]
    fn nothing_of_a_changed_block_leaves() {
        let file = bytes(3 * BUFFER_LEN + 5);
        let border = BUFFER_LEN;
        for (at, before) in [(0, 0), (border - 1, 0), (border, border), (3 * border, 3 * border)] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let longer = [&file[..], b"x"].concat();
            for (second, before) in [(&changed[..], before), (&longer, 3 * border), (&file[..at], at / border * border)]
            {
                let mut again = FirstReading::of(&file[..], file.len() as u64).unwrap().again(second);
                let mut out = Vec::new();
                let error = again.read_to_end(&mut out).unwrap_err();
                assert_eq!((error.kind(), again.is_changed()), (io::ErrorKind::InvalidData, true));
                assert!(out == file[..before], "{at}: {} bytes", out.len());
            }
        }
        // A file of whole blocks that grows by some bytes behind them.
        let even = bytes(2 * border);
        let mut again = FirstReading::of(&even[..], 0).unwrap().again(&file[..]);
        let mut out = Vec::new();
        assert!(again.read_to_end(&mut out).is_err() && out.len() == 2 * border);
    }

    #[test]
    fn digests_and_blocks_are_bounded() {
        for (len, block) in [(0, 256 << 10), (16 << 30, 256 << 10), (64 << 30, 1 << 20), (1 << 40, 16 << 20)] {
            assert_eq!(block_len(len), block, "{len}");
            assert!(len / block as u64 <= BLOCKS_MAX);
        }
        assert_eq!(block_len(u64::MAX), 16 << 20);
    }
}
