//! Compression of layers and of whole archives: its detection, and decompression
//! of bytes as they pass.

use flate2::write::MultiGzDecoder;
use std::fmt;
use std::io::{self, Write};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Number of bytes that identify a compression.
pub(crate) const MAGIC_LEN: usize = 6;

/// log2 of the largest zstd window in bytes that is decompressed, 32 MiB: what the
/// encoders of image builders use at their highest levels.
pub(crate) const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Number of decompressed bytes that are passed on at once.
const BUFFER_LEN: usize = 64 * 1024;

/// A compression that engines recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Recognised, but not supported: its program is named.
    Other(&'static str),
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Compression {
    /// Detects the compression of content that begins with `start`.
    pub fn detect(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // Also a skippable frame, which another frame may follow.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Other("xz")),
            [b'B', b'Z', b'h', ..] => Some(Self::Other("bzip2")),
            _ => None,
        }
    }

    /// Returns the name of the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Other(program) => program,
        }
    }
}

/// Decompresses the bytes that are pushed into it and writes the result to `W`.
pub(crate) enum Decompressor<W: Write> {
    Gzip(Box<MultiGzDecoder<W>>),
    Zstd { decoder: ZstdDecoder<'static>, output: W, buffer: Vec<u8>, is_inside_frame: bool },
}

impl<W: Write> Decompressor<W> {
    /// Returns a decompressor, or `None` if the compression is not supported.
    pub(crate) fn new(compression: Compression, output: W) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::Gzip => Some(Self::Gzip(Box::new(MultiGzDecoder::new(output)))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                Some(Self::Zstd { decoder, output, buffer: vec![0; BUFFER_LEN], is_inside_frame: false })
            }
            Compression::Other(_) => None,
        })
    }

    /// Decompresses the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Zstd { decoder, output, buffer, is_inside_frame } => {
                let mut input = InBuffer::around(bytes);
                loop {
                    let mut filled = OutBuffer::around(buffer.as_mut_slice());
                    let taken = input.pos();
                    let hint = decoder.run(&mut input, &mut filled)?;
                    let len = filled.pos();
                    // After the last frame the hint is the length of the next header.
                    if len > 0 || input.pos() > taken {
                        *is_inside_frame = hint != 0;
                    }
                    output.write_all(&buffer[..len])?;
                    // A full buffer may mean that more output waits.
                    if input.pos() == bytes.len() && len < buffer.len() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Checks that the compressed content is complete.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zstd { is_inside_frame: true, .. } => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Zstd { output, .. } => Ok(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(compression: Compression, bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(compression, Vec::new())?.unwrap();
        bytes.chunks(piece).try_for_each(|piece| decompressor.push(piece))?;
        decompressor.finish()
    }

    #[test]
    fn both_are_decompressed_and_cuts_are_found() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (compression, bytes) in [(Compression::Gzip, &gzip), (Compression::Zstd, &zstd)] {
            assert_eq!(Compression::detect(bytes), Some(compression));
            let twice = [&bytes[..], bytes].concat();
            for piece in [1000, 65536, usize::MAX] {
                assert!(decompress(compression, bytes, piece).unwrap() == text);
                assert!(decompress(compression, &twice, piece).unwrap() == [&text[..], &text].concat());
            }
            for len in [3, 20, bytes.len() / 2, bytes.len() - 1] {
                assert!(decompress(compression, &bytes[..len], 777).is_err(), "{compression:?}: {len}");
            }
        }
    }

    #[test]
    fn content_that_fills_the_buffer_is_complete() {
        for len in [BUFFER_LEN - 1, BUFFER_LEN, BUFFER_LEN + 1, 2 * BUFFER_LEN, 3 * BUFFER_LEN] {
            let text: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
            let zstd = zstd::encode_all(&text[..], 3).unwrap();
            for piece in [1, 1000, usize::MAX] {
                assert!(decompress(Compression::Zstd, &zstd, piece).unwrap() == text, "{len} in {piece}");
                assert!(decompress(Compression::Zstd, &zstd[..zstd.len() - 1], piece).is_err(), "{len} in {piece}");
                assert!(
                    decompress(Compression::Zstd, &[&zstd[..], b"(\xb5"].concat(), piece).is_err(),
                    "{len} in {piece}"
                );
            }
        }
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert!(decompress(Compression::Zstd, &bytes, usize::MAX).is_err());
    }
}
