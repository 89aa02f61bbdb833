//! Zstandard frames (RFC 8878) of packed content: they declare their content size, and have
//! neither a dictionary nor a checksum.

use loader_pipe::read_full_unless_stopped;
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

/// First bytes of a zstd frame.
pub(crate) const FRAME_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// First bytes of the skippable frame with the statement.
pub(crate) const STATEMENT_MAGIC: [u8; 4] = 0x184d_2a53_u32.to_le_bytes();

/// First bytes of the skippable frame with the seek table.
pub(crate) const SEEK_TABLE_MAGIC: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();

/// Number of bytes before the content of a skippable frame: magic and length.
pub(crate) const SKIPPABLE_HEAD_LEN: usize = 8;

/// Maximum number of bytes of a block (RFC 8878, 3.1.1.2.4).
const BLOCK_MAX: usize = 128 * 1024;

/// Length of a block header.
const BLOCK_HEAD_LEN: usize = 3;

/// Maximum length of magic and frame header (RFC 8878, 3.1.1.1).
const HEAD_MAX: usize = 18;

/// Returns the maximum length in bytes of the frame of a piece of `piece_len` bytes,
/// which is that of a stored piece.
pub(crate) fn frame_len_max(piece_len: usize) -> usize {
    HEAD_MAX + piece_len + BLOCK_HEAD_LEN * piece_len.div_ceil(BLOCK_MAX).max(1)
}

/// Writes `piece` as a frame of raw blocks to the start of `frame`. Returns its length.
pub(crate) fn store(piece: &[u8], frame: &mut [u8]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&FRAME_MAGIC);
    // Frame header descriptor: a single segment, content size in 4 bytes.
    put(&[0b1010_0000]);
    put(&(piece.len() as u32).to_le_bytes());
    let last = piece.len().div_ceil(BLOCK_MAX).saturating_sub(1);
    for (i, block) in piece.chunks(BLOCK_MAX).enumerate() {
        let head = (block.len() as u32) << 3 | u32::from(i == last);
        put(&head.to_le_bytes()[..BLOCK_HEAD_LEN]);
        put(block);
    }
    at
}

/// Reason why a frame cannot be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The input ended.
    Truncated,
    /// The frame violates the format.
    Invalid(&'static str),
    /// Reading failed.
    Read(io::Error),
}

/// Length of a frame and of the piece in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLens {
    /// Length of the frame in bytes.
    pub(crate) frame: usize,
    /// Declared length of the piece in bytes, from 1.
    pub(crate) piece: usize,
}

/// Reads frames from a stream, and counts the bytes.
pub(crate) struct FrameReader<'a, R> {
    input: R,
    stopped: &'a AtomicBool,
    /// Number of bytes read.
    pub(crate) read: u64,
}

impl<'a, R: Read> FrameReader<'a, R> {
    pub(crate) fn new(input: R, stopped: &'a AtomicBool) -> Self {
        Self { input, stopped, read: 0 }
    }

    /// Fills `buffer` completely.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), FrameError> {
        let got = self.fill_some(buffer)?;
        if got == buffer.len() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// Reads until `buffer` is full or the input ends. Returns the number of bytes.
    pub(crate) fn fill_some(&mut self, buffer: &mut [u8]) -> Result<usize, FrameError> {
        let got = read_full_unless_stopped(&mut self.input, buffer, self.stopped).map_err(FrameError::Read)?;
        self.read += got as u64;
        Ok(got)
    }

    /// Reads the rest of a frame after its magic. Writes the whole frame, with its magic, to the
    /// start of `buffer`, whose length limits that of the frame. A piece has at most `piece_max` bytes.
    pub(crate) fn read_frame(&mut self, buffer: &mut [u8], piece_max: usize) -> Result<FrameLens, FrameError> {
        buffer[..4].copy_from_slice(&FRAME_MAGIC);
        self.fill(&mut buffer[4..5])?;
        let head = FrameDescriptor::parse(buffer[4])?;
        let head_end = 5 + head.more_len();
        self.fill(&mut buffer[5..head_end])?;
        let piece = head.piece_len(&buffer[5..head_end], piece_max)?;
        let frame_max = frame_len_max(piece).min(buffer.len());
        let buffer = &mut buffer[..frame_max];
        let mut end = head_end;
        loop {
            let block = end + BLOCK_HEAD_LEN;
            self.fill(buffer.get_mut(end..block).ok_or(TOO_LONG)?)?;
            let [a, b, c] = [buffer[end], buffer[end + 1], buffer[end + 2]];
            let word = u32::from_le_bytes([a, b, c, 0]);
            let (is_last, kind, size) = (word & 1 == 1, word >> 1 & 3, (word >> 3) as usize);
            if size > BLOCK_MAX {
                return Err(FrameError::Invalid("a block is longer than 128 KiB"));
            }
            let stored = match kind {
                0 | 2 => size,
                1 => 1,
                _ => return Err(FrameError::Invalid("a block has a reserved type")),
            };
            end = block + stored;
            self.fill(buffer.get_mut(block..end).ok_or(TOO_LONG)?)?;
            if is_last {
                return Ok(FrameLens { frame: end, piece });
            }
        }
    }
}

const TOO_LONG: FrameError = FrameError::Invalid("it is longer than a stored piece");

/// Frame header descriptor, the byte after the magic (RFC 8878, 3.1.1.1.1).
struct FrameDescriptor {
    has_window: bool,
    size_len: usize,
}

impl FrameDescriptor {
    fn parse(descriptor: u8) -> Result<Self, FrameError> {
        let is_single_segment = descriptor & 0b10_0000 != 0;
        let size_len = match descriptor >> 6 {
            0 => usize::from(is_single_segment),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        match descriptor {
            _ if descriptor & 0b1_1000 != 0 => Err(FrameError::Invalid("reserved bits are set")),
            _ if descriptor & 0b11 != 0 => Err(FrameError::Invalid("it needs a dictionary")),
            _ if descriptor & 0b100 != 0 => Err(FrameError::Invalid("it has a checksum")),
            _ if size_len == 0 => Err(FrameError::Invalid("it does not declare its size")),
            _ => Ok(Self { has_window: !is_single_segment, size_len }),
        }
    }

    /// Returns the number of bytes of the frame header after this one.
    fn more_len(&self) -> usize {
        usize::from(self.has_window) + self.size_len
    }

    fn piece_len(&self, more: &[u8], piece_max: usize) -> Result<usize, FrameError> {
        let (window, size) = more.split_at(usize::from(self.has_window));
        if let [byte] = window {
            // RFC 8878, 3.1.1.1.2.
            let base = 1_u64 << (10 + (byte >> 3));
            if base + base / 8 * u64::from(byte & 7) > piece_max as u64 {
                return Err(FrameError::Invalid("its window is longer than a piece"));
            }
        }
        let mut bytes = [0; 8];
        bytes[..size.len()].copy_from_slice(size);
        let declared = u64::from_le_bytes(bytes) + if size.len() == 2 { 256 } else { 0 };
        match declared {
            0 => Err(FrameError::Invalid("it is empty")),
            _ if declared > piece_max as u64 => Err(FrameError::Invalid("it declares more than the length of a piece")),
            _ => Ok(declared as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8], piece_max: usize) -> Result<FrameLens, FrameError> {
        let stopped = AtomicBool::new(false);
        let mut reader = FrameReader::new(bytes, &stopped);
        let mut magic = [0; 4];
        reader.fill(&mut magic)?;
        assert_eq!(magic, FRAME_MAGIC);
        let mut buffer = vec![0; frame_len_max(piece_max)];
        let lens = reader.read_frame(&mut buffer, piece_max)?;
        assert_eq!(buffer[..lens.frame], bytes[..lens.frame]);
        Ok(lens)
    }

    #[test]
    fn frames_of_zstd_and_stored_ones_are_read() {
        for len in [1, 255, 256, 257, 65_535, 65_792, 65_793, 131_072, 131_073, 1 << 20] {
            for byte in [|_| 7_u8, |i: usize| ((i * i) >> 7) as u8] {
                let piece: Vec<u8> = (0..len).map(byte).collect();
                for level in [1, 9, 19] {
                    let frame = zstd::bulk::compress(&piece, level).unwrap();
                    assert_eq!(parse(&frame, 1 << 20).unwrap(), FrameLens { frame: frame.len(), piece: len });
                }
                let mut frame = vec![0; frame_len_max(len)];
                let stored = store(&piece, &mut frame);
                assert_eq!(parse(&frame[..stored], 1 << 20).unwrap(), FrameLens { frame: stored, piece: len });
                assert!(zstd::bulk::decompress(&frame[..stored], len).unwrap() == piece);
            }
        }
    }

    #[test]
    fn frames_outside_the_format_are_refused() {
        let invalid = |bytes: &[u8]| match parse(&[&FRAME_MAGIC, bytes].concat(), 4096) {
            Err(FrameError::Invalid(what)) => what,
            other => panic!("{other:?}"),
        };
        let cases: [(&[u8], &str); 11] = [
            (&[0b0000_0000, 0], "it does not declare its size"),
            (&[0b0010_0001, 5, 9], "it needs a dictionary"),
            (&[0b0010_0100, 9], "it has a checksum"),
            (&[0b0011_0000, 9], "reserved bits are set"),
            (&[0b0010_1000, 9], "reserved bits are set"),
            (&[0b0010_0000, 0], "it is empty"),
            (&[0b1010_0000, 1, 16, 0, 0], "it declares more than the length of a piece"),
            (&[0b1110_0000, 1, 0, 0, 0, 0, 0, 0, 1], "it declares more than the length of a piece"),
            (&[0b1000_0000, 0x11, 1, 0, 0, 0], "its window is longer than a piece"),
            (&[0b0010_0000, 9, 0b110, 0, 0], "a block has a reserved type"),
            (&[0b0010_0000, 9, 0x0d, 0, 0x10], "a block is longer than 128 KiB"),
        ];
        for (bytes, what) in cases {
            assert_eq!(invalid(bytes), what);
        }
        // Blocks of which none is marked as the last one.
        let endless = [&[0b0010_0000, 9][..], &[0b010, 0, 0, 0].repeat(5000)].concat();
        assert_eq!(invalid(&endless), "it is longer than a stored piece");
    }

    #[test]
    fn every_cut_is_truncated() {
        let frame = zstd::bulk::compress(b"some text, some text, some text", 3).unwrap();
        for at in 4..frame.len() {
            assert!(matches!(parse(&frame[..at], 4096), Err(FrameError::Truncated)), "{at}");
        }
    }
}
