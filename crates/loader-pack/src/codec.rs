//! Compression of a piece to a frame, and back.

use crate::frame::{frame_len_max, store};
use std::ops::RangeInclusive;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// Compression level of the trial that decides whether the selected level is used for a piece.
const TRIAL_LEVEL: i32 = 1;

/// Length in bytes of each sample for the first trial, and distance between their starts.
const SAMPLE_LEN: usize = 16 * 1024;
const SAMPLE_DISTANCE: usize = 128 * 1024;

/// Percentage that the trial must save for the selected level to be used.
const SLOW_MIN_PERCENT: usize = 10;

/// Percentage that a frame must save. Otherwise the piece is stored uncompressed, which is
/// faster to unpack.
const FRAME_MIN_PERCENT: usize = 1;

/// log2 of the number of entries in the hash table of the compressor, for
/// [`BOUNDED_LEVELS`]. Compared with the default of zstd for pieces of 4 MiB, files are
/// 0.4 % longer, compression takes a fifth less time, and two threads need 10 MiB less.
const HASH_LOG: u32 = 20;

/// Levels whose memory is bounded by [`HASH_LOG`]. Lower levels need less, and higher ones
/// are chosen for the shortest file.
const BOUNDED_LEVELS: RangeInclusive<i32> = 5..=12;

/// Compresses pieces. Its memory is reused.
pub(crate) struct PieceCompressor {
    level: i32,
    zstd: Compressor<'static>,
}

impl PieceCompressor {
    /// # Errors
    /// The message of zstd, if it has too little memory.
    pub(crate) fn new(level: i32) -> Result<Self, String> {
        let zstd = Compressor::new(level).map_err(|error| error.to_string())?;
        Ok(Self { level, zstd })
    }

    /// Writes the frame of `piece` to the start of `frame`, which has room for
    /// [`frame_len_max`]. Returns its length in bytes. The result depends only on the
    /// piece and the level.
    ///
    /// A piece that hardly shrinks at a fast level, such as the weights of a model, is not
    /// compressed at a slow level: it would not become smaller.
    pub(crate) fn compress(&mut self, piece: &[u8], frame: &mut [u8]) -> usize {
        let room = &mut frame[..frame_len_max(piece.len())];
        if self.level > TRIAL_LEVEL && !self.samples_shrink(piece, room) {
            let fast = run(&mut self.zstd, TRIAL_LEVEL, piece, room);
            match fast {
                Some(len) if saves(piece.len(), len, SLOW_MIN_PERCENT) => {}
                Some(len) if saves(piece.len(), len, FRAME_MIN_PERCENT) => return len,
                _ => return store(piece, room),
            }
        }
        match run(&mut self.zstd, self.level, piece, room) {
            Some(len) if saves(piece.len(), len, FRAME_MIN_PERCENT) => len,
            _ => store(piece, room),
        }
    }

    /// Compresses samples of `piece`, which are copied to the end of `room`. Returns true if
    /// they become at least [`SLOW_MIN_PERCENT`] percent shorter.
    fn samples_shrink(&mut self, piece: &[u8], room: &mut [u8]) -> bool {
        let parts = piece.chunks(SAMPLE_DISTANCE).map(|part| &part[..part.len().min(SAMPLE_LEN)]);
        let total: usize = parts.clone().map(<[u8]>::len).sum();
        let frame_len = room.len().saturating_sub(total).min(frame_len_max(total));
        let (frame, samples) = room.split_at_mut(frame_len);
        let samples = &mut samples[..total];
        let mut rest = &mut *samples;
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        let len = run(&mut self.zstd, TRIAL_LEVEL, samples, frame);
        len.is_some_and(|len| saves(total, len, SLOW_MIN_PERCENT))
    }
}

/// Compresses `piece`. Returns the length of the frame, or `None` if it is longer than a
/// stored piece.
fn run(zstd: &mut Compressor<'static>, level: i32, piece: &[u8], frame: &mut [u8]) -> Option<usize> {
    // 0 is the default of the level.
    let hash_log = if BOUNDED_LEVELS.contains(&level) && piece.len() >> HASH_LOG > 0 { HASH_LOG } else { 0 };
    let set = zstd.set_compression_level(level).and_then(|()| zstd.set_parameter(CParameter::HashLog(hash_log)));
    set.and_then(|()| zstd.compress_to_buffer(piece, frame)).ok()
}

fn saves(len: usize, compressed: usize, percent: usize) -> bool {
    compressed <= len - (len * percent).div_ceil(100)
}

/// Decompresses frames. Its memory is reused.
pub(crate) struct PieceDecompressor(Decompressor<'static>);

impl PieceDecompressor {
    pub(crate) fn new() -> Result<Self, &'static str> {
        Decompressor::new().map(Self).map_err(|_| "zstd cannot be started")
    }

    /// Decompresses one frame to `piece`, whose length is the declared one.
    ///
    /// # Errors
    /// A description of the defect.
    pub(crate) fn decompress(&mut self, frame: &[u8], piece: &mut [u8]) -> Result<(), &'static str> {
        match self.0.decompress_to_buffer(frame, &mut *piece) {
            Ok(len) if len == piece.len() => Ok(()),
            Ok(_) => Err("it contains less than it declares"),
            Err(_) => Err("it cannot be decompressed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn round_trip(piece: &[u8], level: i32) -> usize {
        let mut frame = vec![0; frame_len_max(piece.len())];
        let len = PieceCompressor::new(level).unwrap().compress(piece, &mut frame);
        let mut back = vec![0; piece.len()];
        PieceDecompressor::new().unwrap().decompress(&frame[..len], &mut back).unwrap();
        assert!(back == piece);
        len
    }

    #[test]
    fn pieces_round_trip_and_noise_is_stored() {
        for len in [1, 2, 100, 16_384, 131_072, 131_073, 500_000] {
            for level in [1, 3, 9, 19] {
                assert!(round_trip(&vec![7; len], level) < 100);
                assert!(round_trip(&noise(len), level) >= len, "{len}");
            }
        }
    }

    #[test]
    fn repetition_that_no_sample_shows_is_still_compressed() {
        // Each sample is noise, but the second half of the piece repeats the first.
        let half = noise(300_000);
        assert!(round_trip(&[&half[..], &half].concat(), 9) < 320_000);
    }

    #[test]
    fn damaged_frames_are_refused() {
        let piece = b"text ".repeat(1000);
        let mut frame = vec![0; frame_len_max(piece.len())];
        let len = PieceCompressor::new(9).unwrap().compress(&piece, &mut frame);
        let mut decompressor = PieceDecompressor::new().unwrap();
        for at in 4..len {
            let mut damaged = frame[..len].to_vec();
            damaged[at] ^= 0x10;
            let mut back = vec![0; piece.len()];
            // The tags of the sealed stream detect damage; here it must only be harmless.
            let _ = decompressor.decompress(&damaged, &mut back);
        }
        let mut back = vec![0; piece.len()];
        assert!(decompressor.decompress(&frame[..len - 1], &mut back).is_err());
        decompressor.decompress(&frame[..len], &mut back).unwrap();
        assert!(back == piece);
    }
}
