//! Packing content for which there already is a statement.

use crate::codec::PieceCompressor;
use crate::frame::{SKIPPABLE_HEAD_LEN, STATEMENT_MAGIC, frame_len_max};
use crate::seek_table::{self, Entry};
use crate::{Error, Mismatch, PIECE_LEN, Statement};
use loader_pipe::{Memory, process_in_order, read_full_unless_stopped};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::ops::Range;

impl Statement {
    /// Parses the bytes that [`PackedFile::statement_bytes`](crate::PackedFile::statement_bytes)
    /// returns.
    ///
    /// # Errors
    /// [`Error::Statement`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_payload(bytes).map_err(|what| Error::Statement { offset: 0, what })
    }

    /// Returns the maximum length in bytes of a statement with its signatures.
    pub fn len_max() -> usize {
        Self::payload_len_max(crate::PIECES_MAX)
    }
}

/// Content that a statement describes.
#[derive(Clone, Copy, Debug)]
pub struct StatedContent<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// Its bytes with the signatures, which are written as they are.
    pub bytes: &'a [u8],
}

/// Reads the content in `input` to its end and writes it, packed with its statement, to `output`.
/// Every piece is compared with the statement before it is written. Returns the length of the
/// packed content in bytes. Each thread uses a compressor and a buffer of the length of two
/// pieces.
///
/// # Errors
/// [`Error::Mismatch`] if it is not the content of the statement; [`Error::Read`],
/// [`Error::Write`], [`Error::Compress`].
pub fn repack(
    input: &mut (impl Read + Send),
    output: &mut (impl Write + Send),
    content: StatedContent<'_>,
    level: i32,
    threads: usize,
) -> Result<u64, Error> {
    let statement = content.statement;
    let mut entries = Vec::new();
    let mut packed_len = 0;
    stated_pieces(
        input,
        statement,
        Memory::Ordinary,
        threads,
        || {
            let mut compressor = PieceCompressor::new(level);
            move |piece_len: usize, buffer: &mut [u8]| {
                let (piece, frame) = buffer.split_at_mut(PIECE_LEN);
                let compressor = compressor.as_mut().map_err(|what| Error::Compress(what.clone()))?;
                let frame_len = compressor.compress(&piece[..piece_len], frame);
                Ok((PIECE_LEN..PIECE_LEN + frame_len, piece_len))
            }
        },
        |buffer, (frame, piece_len): (Range<usize>, usize)| {
            packed_len += frame.len() as u64;
            entries.push(Entry { frame_len: frame.len() as u32, piece_len: piece_len as u32 });
            output.write_all(&buffer[frame]).map_err(Error::Write)
        },
    )?;
    entries.push(Entry { frame_len: (SKIPPABLE_HEAD_LEN + content.bytes.len()) as u32, piece_len: 0 });
    let payload_len = (content.bytes.len() as u32).to_le_bytes();
    for bytes in [&STATEMENT_MAGIC[..], &payload_len, content.bytes, &seek_table::to_bytes(&entries)] {
        output.write_all(bytes).map_err(Error::Write)?;
        packed_len += bytes.len() as u64;
    }
    Ok(packed_len)
}

/// Reads the content in `input` to its end and writes it to `output`. Every piece is compared
/// with the statement before it is written.
///
/// # Errors
/// [`Error::Mismatch`], [`Error::Read`], [`Error::Write`].
pub fn copy_stated(
    input: &mut (impl Read + Send),
    output: &mut (impl loader_pipe::Sink + Send),
    statement: &Statement,
    threads: usize,
) -> Result<(), Error> {
    let memory = output.memory();
    let write =
        |buffer: &mut loader_pipe::Buffer, range: Range<usize>| output.write_from(buffer, range).map_err(Error::Write);
    stated_pieces(input, statement, memory, threads, || |len: usize, _: &mut [u8]| Ok(0..len), write)?;
    output.flush().map_err(Error::Write)
}

/// Reads the pieces of `statement` to the start of buffers, compares them with it, and passes
/// them to a processor and then, in order, to `sink`.
fn stated_pieces<T, P>(
    input: &mut (impl Read + Send),
    statement: &Statement,
    memory: Memory,
    threads: usize,
    new_processor: impl Fn() -> P + Sync,
    sink: impl FnMut(&mut loader_pipe::Buffer, T) -> Result<(), Error> + Send,
) -> Result<(), Error>
where
    P: FnMut(usize, &mut [u8]) -> Result<T, Error>,
{
    let (mut digest, mut next) = (Sha256::new(), 0);
    process_in_order(
        threads,
        memory,
        PIECE_LEN + frame_len_max(PIECE_LEN),
        |buffer, stopped| {
            if next == statement.piece_digests().len() {
                // Reads the end, at which the reader may find more than the statement declares.
                let is_end = read_full_unless_stopped(input, &mut buffer[..1], stopped).map_err(Error::Read)? == 0;
                let content_len = statement.content_len();
                let longer = Mismatch::Len { declared: content_len, actual: content_len + 1 };
                return if is_end { Ok(None) } else { Err(Error::Mismatch(longer)) };
            }
            let len = statement.len_of_piece(next);
            let got = read_full_unless_stopped(input, &mut buffer[..len], stopped).map_err(Error::Read)?;
            statement.check_piece_len(next, got).map_err(Error::Mismatch)?;
            digest.update(&buffer[..len]);
            next += 1;
            if next == statement.piece_digests().len() {
                let digest: [u8; 32] = digest.finalize_reset().into();
                if digest != *statement.content_digest() {
                    // Reported after the digests of the pieces, which say more.
                    return Ok(Some((next - 1, len, false)));
                }
            }
            Ok(Some((next - 1, len, true)))
        },
        || {
            let mut process = new_processor();
            move |(index, len, is_content_right): (usize, usize, bool), buffer: &mut [u8]| {
                let digest = Sha256::digest(&buffer[..len]).into();
                statement.check_piece(index, &digest).map_err(Error::Mismatch)?;
                if !is_content_right {
                    return Err(Error::Mismatch(Mismatch::Content));
                }
                process(len, buffer)
            }
        },
        sink,
    )
}
