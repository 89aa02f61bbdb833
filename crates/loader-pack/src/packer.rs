//! Packing a stream.

use crate::codec::PieceCompressor;
use crate::frame::{SKIPPABLE_HEAD_LEN, STATEMENT_MAGIC, frame_len_max};
use crate::seek_table::{self, Entry};
use crate::{DEFAULT_LEVEL, Error, PIECE_LEN, PIECES_MAX, Signature, Statement};
use loader_model::Description;
use loader_pipe::{Memory, process_in_order, read_full_unless_stopped};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::ops::Range;

/// Options for [`pack`].
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Level of compression, one of [`LEVELS`](crate::LEVELS).
    pub level: i32,
    /// Description for the statement.
    pub description: Description,
    /// Number of threads; 1 by default.
    pub threads: usize,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, description: Description::default(), threads: 1 }
    }
}

/// Result of [`pack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Statement that was written.
    pub statement: Statement,
    /// Length of the packed content in bytes.
    pub packed_len: u64,
}

/// A piece after compression.
struct Frame {
    range: Range<usize>,
    piece_len: usize,
    digest: [u8; 32],
}

/// Packed content whose pieces are written, and whose statement is not.
#[must_use]
#[derive(Debug)]
pub struct PackedPieces {
    statement: Statement,
    entries: Vec<Entry>,
    packed_len: u64,
}

impl PackedPieces {
    /// Returns the statement, which a publisher may sign.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Writes the statement with `signatures`, and the seek table, to `output`, which has
    /// received the pieces.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Signatures`] for too many, or two of one key.
    pub fn finish(mut self, output: &mut impl Write, signatures: &[Signature]) -> Result<Packed, Error> {
        self.statement.add_signatures(signatures)?;
        let payload = self.statement.to_payload();
        self.entries.push(Entry { frame_len: (SKIPPABLE_HEAD_LEN + payload.len()) as u32, piece_len: 0 });
        let payload_len = (payload.len() as u32).to_le_bytes();
        for bytes in [&STATEMENT_MAGIC[..], &payload_len, &payload, &seek_table::to_bytes(&self.entries)] {
            output.write_all(bytes).map_err(Error::Write)?;
            self.packed_len += bytes.len() as u64;
        }
        Ok(Packed { statement: self.statement, packed_len: self.packed_len })
    }
}

/// Reads `input` to its end and writes it, packed and without signatures, to `output`.
///
/// # Errors
/// Those of [`pack_pieces`].
pub fn pack(
    input: &mut (impl Read + Send),
    output: &mut (impl Write + Send),
    options: &PackOptions,
) -> Result<Packed, Error> {
    pack_pieces(input, output, options)?.finish(output, &[])
}

/// Reads `input` to its end and writes its pieces to `output`. The statement depends only
/// on the content and the description. Each thread uses a compressor and a buffer of the
/// length of two pieces.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`], [`Error::TooLong`], [`Error::DescriptionTooLong`],
/// [`Error::Compress`].
pub fn pack_pieces(
    input: &mut (impl Read + Send),
    output: &mut (impl Write + Send),
    options: &PackOptions,
) -> Result<PackedPieces, Error> {
    // Refuses a long description before anything is written.
    Statement::new(options.description.clone(), 0, [0; 32], PIECE_LEN, Vec::new())?;
    let (mut content, mut content_len) = (Sha256::new(), 0);
    let (mut entries, mut digests) = (Vec::new(), Vec::new());
    let (mut pieces, mut packed_len) = (0, 0);
    process_in_order(
        options.threads,
        Memory::Ordinary,
        PIECE_LEN + frame_len_max(PIECE_LEN),
        |buffer, stopped| {
            let len = read_full_unless_stopped(input, &mut buffer[..PIECE_LEN], stopped).map_err(Error::Read)?;
            if len == 0 {
                return Ok(None);
            }
            pieces += 1;
            if pieces > PIECES_MAX {
                return Err(Error::TooLong);
            }
            content.update(&buffer[..len]);
            content_len += len as u64;
            Ok(Some(len))
        },
        || {
            let mut compressor = PieceCompressor::new(options.level);
            move |len: usize, buffer: &mut [u8]| {
                let (piece, frame) = buffer.split_at_mut(PIECE_LEN);
                let digest = Sha256::digest(&piece[..len]).into();
                let compressor = compressor.as_mut().map_err(|what| Error::Compress(what.clone()))?;
                let frame_len = compressor.compress(&piece[..len], frame);
                Ok(Frame { range: PIECE_LEN..PIECE_LEN + frame_len, piece_len: len, digest })
            }
        },
        |buffer, frame: Frame| {
            packed_len += frame.range.len() as u64;
            entries.push(Entry { frame_len: frame.range.len() as u32, piece_len: frame.piece_len as u32 });
            digests.push(frame.digest);
            output.write_all(&buffer[frame.range]).map_err(Error::Write)
        },
    )?;
    let description = options.description.clone();
    let statement = Statement::new(description, content_len, content.finalize().into(), PIECE_LEN, digests)?;
    Ok(PackedPieces { statement, entries, packed_len })
}
