//! Unpacking a stream.

use crate::codec::PieceDecompressor;
use crate::frame::{FRAME_MAGIC, FrameError, FrameLens, FrameReader, STATEMENT_MAGIC, frame_len_max};
use crate::seek_table::{self, Entry};
use crate::{Error, Mismatch, PIECE_LEN, PIECES_MAX, Statement, Verify};
use loader_pipe::{Sink, process_in_order};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

/// Reads packed content to its end and writes the content to `output`. Returns the
/// statement. The statement comes after the content, so a mismatch is detected only after
/// the content was written; [`PackedFile`](crate::PackedFile) checks each piece before it is
/// written. Each thread uses a buffer of the length of two pieces.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Frame`], [`Error::Statement`], [`Error::Mismatch`],
/// [`Error::SeekTable`], [`Error::Trailing`], [`Error::Read`], [`Error::Write`]. The bytes
/// written until then are a prefix of the content of the frames.
pub fn unpack(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    verify: Verify,
    threads: usize,
) -> Result<Statement, Error> {
    let mut source = PackedStream { input, read: 0, entries: Vec::new(), statement: None };
    let (mut content, mut digests) = (ContentCheck::new(verify), Vec::new());
    process_in_order(
        threads,
        output.memory(),
        PIECE_LEN + frame_len_max(PIECE_LEN),
        |buffer, stopped| source.next(&mut buffer[PIECE_LEN..], stopped),
        piece_unpacker,
        |buffer, piece: Piece| {
            content.update(&buffer[piece.range.clone()]);
            digests.push(piece.digest);
            output.write_from(buffer, piece.range).map_err(Error::Write)
        },
    )?;
    output.flush().map_err(Error::Write)?;
    let end = source.read;
    let statement = source.statement.ok_or_else(|| truncated(end, "the statement"))?;
    for (index, digest) in digests.iter().enumerate() {
        statement.check_piece(index, digest).map_err(Error::Mismatch)?;
    }
    content.finish(&statement)?;
    Ok(statement)
}

/// Digest of the whole content, if it is compared.
pub(crate) struct ContentCheck(Option<Sha256>);

impl ContentCheck {
    pub(crate) fn new(verify: Verify) -> Self {
        Self((verify == Verify::PiecesAndContent).then(Sha256::new))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.0 {
            hash.update(bytes);
        }
    }

    /// # Errors
    /// [`Error::Mismatch`].
    pub(crate) fn finish(self, statement: &Statement) -> Result<(), Error> {
        let actual: Option<[u8; 32]> = self.0.map(|hash| hash.finalize().into());
        if actual.is_some_and(|actual| actual != *statement.content_digest()) {
            return Err(Error::Mismatch(Mismatch::Content));
        }
        Ok(())
    }
}

/// Frame in the second part of a buffer; the first part is for its piece.
pub(crate) struct FrameJob {
    pub(crate) index: u64,
    /// Offset of the frame in the packed content.
    pub(crate) offset: u64,
    pub(crate) lens: FrameLens,
}

/// Piece in a buffer.
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    pub(crate) digest: [u8; 32],
}

/// Returns a function for one thread. It decompresses the frame at offset [`PIECE_LEN`] of a
/// buffer to the start of the buffer.
pub(crate) fn piece_unpacker() -> impl FnMut(FrameJob, &mut [u8]) -> Result<Piece, Error> {
    let mut decompressor = PieceDecompressor::new();
    move |job, buffer| {
        let (piece, frame) = buffer.split_at_mut(PIECE_LEN);
        let piece = &mut piece[..job.lens.piece];
        let frame = &frame[..job.lens.frame];
        let outcome = decompressor.as_mut().map_err(|what| *what).and_then(|zstd| zstd.decompress(frame, piece));
        outcome.map_err(|what| Error::Frame { index: job.index, offset: job.offset, what })?;
        Ok(Piece { range: 0..piece.len(), digest: Sha256::digest(piece).into() })
    }
}

/// Packed content that is read from its start.
struct PackedStream<'a, R> {
    input: &'a mut R,
    /// Number of bytes read.
    read: u64,
    /// Sizes of the frames so far.
    entries: Vec<Entry>,
    statement: Option<Statement>,
}

impl<R: Read> PackedStream<'_, R> {
    /// Reads the next frame to the start of `buffer`. At the end, reads and checks statement
    /// and seek table, and returns `None`.
    fn next(&mut self, buffer: &mut [u8], stopped: &AtomicBool) -> Result<Option<FrameJob>, Error> {
        let offset = self.read;
        let mut reader = FrameReader::new(&mut *self.input, stopped);
        let index = self.entries.len();
        let frame_error = |error, at| frame_failure(error, index as u64, offset, at);
        let mut magic = [0; 4];
        if let Err(error) = reader.fill(&mut magic) {
            return Err(frame_error(error, offset + reader.read));
        }
        match magic {
            FRAME_MAGIC if index < PIECES_MAX => {
                let outcome = reader.read_frame(buffer, PIECE_LEN);
                self.read += reader.read;
                let lens = outcome.map_err(|error| frame_error(error, self.read))?;
                self.entries.push(Entry { frame_len: lens.frame as u32, piece_len: lens.piece as u32 });
                Ok(Some(FrameJob { index: index as u64, offset, lens }))
            }
            STATEMENT_MAGIC => {
                let statement = read_statement(&mut reader, offset, index)?;
                check_pieces(&statement, &self.entries)?;
                self.entries.push(Entry { frame_len: reader.read as u32, piece_len: 0 });
                let table_offset = offset + reader.read;
                read_table(&mut reader, offset, table_offset, &self.entries)?;
                self.read += reader.read;
                self.statement = Some(statement);
                Ok(None)
            }
            FRAME_MAGIC => Err(frame_error(FrameError::Invalid("there are too many frames"), offset)),
            _ => Err(frame_error(FrameError::Invalid("neither a frame nor the statement begins here"), offset)),
        }
    }
}

/// Reads the rest of the statement after its magic.
fn read_statement<R: Read>(reader: &mut FrameReader<'_, R>, offset: u64, pieces: usize) -> Result<Statement, Error> {
    let invalid = |what| Error::Statement { offset, what };
    let mut len = [0; 4];
    fill(reader, &mut len, offset, "the statement")?;
    let len = u32::from_le_bytes(len) as usize;
    if len > Statement::payload_len_max(pieces) {
        return Err(invalid("it is longer than the number of pieces allows"));
    }
    let mut payload = vec![0; len];
    fill(reader, &mut payload, offset, "the statement")?;
    Statement::from_payload(&payload).map_err(invalid)
}

/// Reads the seek table and the end of the packed content.
fn read_table<R: Read>(
    reader: &mut FrameReader<'_, R>,
    start: u64,
    offset: u64,
    entries: &[Entry],
) -> Result<(), Error> {
    let expected = seek_table::to_bytes(entries);
    let mut table = vec![0; expected.len()];
    fill(reader, &mut table, start, "the seek table")?;
    let invalid = |what| Error::SeekTable { offset, what };
    if seek_table::parse(&table).map_err(invalid)? != entries {
        return Err(invalid("it does not match the frames"));
    }
    let end = offset + table.len() as u64;
    match reader.fill_some(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::Trailing { offset: end }),
        Err(error) => Err(frame_failure(error, 0, end, end)),
    }
}

/// Fills `bytes` completely. `start` is the offset at which `reader` started.
fn fill<R: Read>(reader: &mut FrameReader<'_, R>, bytes: &mut [u8], start: u64, inside: &str) -> Result<(), Error> {
    reader.fill(bytes).map_err(|error| match error {
        FrameError::Read(error) => Error::Read(error),
        _ => truncated(start + reader.read, inside),
    })
}

/// Checks the number and the lengths of the pieces.
pub(crate) fn check_pieces(statement: &Statement, pieces: &[Entry]) -> Result<(), Error> {
    let declared = statement.content_len();
    let actual = pieces.iter().map(|entry| u64::from(entry.piece_len)).sum();
    if declared != actual {
        return Err(Error::Mismatch(Mismatch::Len { declared, actual }));
    }
    let (declared, actual) = (statement.piece_digests().len() as u64, pieces.len() as u64);
    if declared != actual {
        return Err(Error::Mismatch(Mismatch::Pieces { declared, actual }));
    }
    let mut lens = pieces.iter().enumerate();
    lens.try_for_each(|(i, entry)| statement.check_piece_len(i, entry.piece_len as usize)).map_err(Error::Mismatch)
}

/// Returns the error of frame `index` at `offset`; `at` is the end of the bytes that were
/// read.
pub(crate) fn frame_failure(error: FrameError, index: u64, offset: u64, at: u64) -> Error {
    match error {
        FrameError::Truncated => truncated(at, &format!("frame {index}")),
        FrameError::Invalid(what) => Error::Frame { index, offset, what },
        FrameError::Read(error) => Error::Read(error),
    }
}

pub(crate) fn truncated(at: u64, inside: &str) -> Error {
    Error::Truncated { at, inside: inside.to_owned() }
}
