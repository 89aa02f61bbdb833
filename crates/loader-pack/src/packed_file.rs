//! Random access to packed content.

use crate::frame::{FrameReader, SKIPPABLE_HEAD_LEN, STATEMENT_MAGIC, frame_len_max};
use crate::seek_table::{self, Entry, FOOTER_LEN};
use crate::unpacker::{ContentCheck, FrameJob, Piece, check_pieces, frame_failure, piece_unpacker, truncated};
use crate::{Error, PIECE_LEN, Statement, Verify};
use loader_pipe::{Sink, process_in_order, read_full};
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::AtomicBool;

/// Packed content with its statement and seek table. Each piece is checked against the
/// statement before it is written.
pub struct PackedFile<R> {
    input: R,
    packed_len: u64,
    entries: Vec<Entry>,
    statement: Statement,
    statement_bytes: Vec<u8>,
}

impl<R> PackedFile<R> {
    /// Returns the bytes of the statement with all signatures, as
    /// [`Statement::decode`] parses them.
    pub fn statement_bytes(&self) -> &[u8] {
        &self.statement_bytes
    }

    /// Returns the length of each frame in bytes.
    pub(crate) fn frame_lens(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.frame_len)
    }

    /// Returns the input and the lengths of frame `index`.
    ///
    /// # Panics
    /// If there is no such frame.
    pub(crate) fn frame_source(&mut self, index: usize) -> (&mut R, Entry) {
        (&mut self.input, self.entries[index])
    }
}

impl<R: Read + Seek> PackedFile<R> {
    /// Reads the seek table and the statement at the end of `input`.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::SeekTable`], [`Error::Statement`],
    /// [`Error::Mismatch`], [`Error::Read`].
    pub fn open(mut input: R) -> Result<Self, Error> {
        let packed_len = input.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        let Some(footer_offset) = packed_len.checked_sub(FOOTER_LEN as u64) else {
            return Err(truncated(packed_len, "the seek table"));
        };
        let mut footer = [0; FOOTER_LEN];
        read_at(&mut input, footer_offset, &mut footer, "the seek table")?;
        let invalid = |offset| move |what| Error::SeekTable { offset, what };
        let count = seek_table::entry_count(footer).map_err(invalid(footer_offset))?;
        let table_len = seek_table::table_len(count);
        let table_offset = packed_len.checked_sub(table_len as u64);
        let table_offset = table_offset.ok_or_else(|| invalid(footer_offset)("it is longer than the file"))?;
        let mut table = vec![0; table_len];
        read_at(&mut input, table_offset, &mut table, "the seek table")?;
        let entries = seek_table::parse(&table).map_err(invalid(table_offset))?;
        let frames_len: u64 = entries.iter().map(|entry| u64::from(entry.frame_len)).sum();
        if frames_len != table_offset {
            return Err(invalid(table_offset)("the lengths of its frames do not add up"));
        }
        let Some((last, pieces)) = entries.split_last() else {
            return Err(invalid(table_offset)("it has no entry"));
        };
        let offset = table_offset - u64::from(last.frame_len);
        let statement_bytes = read_statement(&mut input, offset, last, pieces.len())?;
        let parsed = Statement::from_payload(&statement_bytes);
        let statement = parsed.map_err(|what| Error::Statement { offset, what })?;
        check_pieces(&statement, pieces)?;
        Ok(Self { entries: pieces.to_vec(), input, packed_len, statement, statement_bytes })
    }

    /// Returns the statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Returns the length of the packed content in bytes.
    pub fn packed_len(&self) -> u64 {
        self.packed_len
    }

    /// Writes the content to `output`. Each thread uses a buffer of the length of two pieces.
    ///
    /// # Errors
    /// [`Error::Frame`], [`Error::SeekTable`], [`Error::Mismatch`], [`Error::Read`],
    /// [`Error::Write`]; the bytes written until then are a prefix of the content.
    pub fn unpack(&mut self, output: &mut (impl Sink + Send), verify: Verify, threads: usize) -> Result<(), Error>
    where
        R: Send,
    {
        let mut content = ContentCheck::new(verify);
        let end = self.statement.content_len();
        self.unpack_pieces(output, 0..end, threads, |bytes| content.update(bytes))?;
        content.finish(&self.statement)
    }

    /// Writes `len` bytes of the content starting at `offset`, or all bytes up to the end if
    /// `len` is `None`. Returns the number of bytes. Reads only the frames that contain the
    /// range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and the errors of [`PackedFile::unpack`].
    pub fn unpack_range(
        &mut self,
        output: &mut (impl Sink + Send),
        offset: u64,
        len: Option<u64>,
        threads: usize,
    ) -> Result<u64, Error>
    where
        R: Send,
    {
        let content_len = self.statement.content_len();
        let end = len.map_or(Some(content_len), |len| offset.checked_add(len));
        let Some(end) = end.filter(|end| offset <= *end && *end <= content_len) else {
            return Err(Error::OutOfRange { offset, len, content_len });
        };
        if offset < end {
            self.unpack_pieces(output, offset..end, threads, |_| {})?;
        }
        Ok(end - offset)
    }

    fn unpack_pieces(
        &mut self,
        output: &mut (impl Sink + Send),
        wanted: std::ops::Range<u64>,
        threads: usize,
        mut observe: impl FnMut(&[u8]) + Send,
    ) -> Result<(), Error>
    where
        R: Send,
    {
        let (input, entries, statement) = (&mut self.input, &self.entries, &self.statement);
        let piece_len = statement.piece_len() as u64;
        let first = (wanted.start / piece_len) as usize;
        let mut offset: u64 = entries.iter().take(first).map(|entry| u64::from(entry.frame_len)).sum();
        let mut next = first;
        input.seek(SeekFrom::Start(offset)).map_err(Error::Read)?;
        process_in_order(
            threads,
            output.memory(),
            PIECE_LEN + frame_len_max(PIECE_LEN),
            |buffer, stopped| {
                let Some(entry) = entries.get(next).filter(|_| (next as u64 * piece_len) < wanted.end) else {
                    return Ok(None);
                };
                let job = read_frame(input, &mut buffer[PIECE_LEN..], (next, offset), entry, stopped)?;
                next += 1;
                offset += u64::from(entry.frame_len);
                Ok(Some(job))
            },
            || {
                let mut unpack_piece = piece_unpacker();
                move |job: FrameJob, buffer: &mut [u8]| {
                    let index = job.index;
                    let piece = unpack_piece(job, buffer)?;
                    statement.check_piece(index as usize, &piece.digest).map_err(Error::Mismatch)?;
                    let start = index * piece_len;
                    let within = |at: u64| (at.saturating_sub(start) as usize).min(piece.range.end);
                    Ok(Piece { range: within(wanted.start)..within(wanted.end), ..piece })
                }
            },
            |buffer, piece: Piece| {
                observe(&buffer[piece.range.clone()]);
                output.write_from(buffer, piece.range).map_err(Error::Write)
            },
        )?;
        output.flush().map_err(Error::Write)
    }
}

/// Reads the frame of piece `index` at `offset` to the start of `buffer`.
pub(crate) fn read_frame(
    input: &mut impl Read,
    buffer: &mut [u8],
    (index, offset): (usize, u64),
    entry: &Entry,
    stopped: &AtomicBool,
) -> Result<FrameJob, Error> {
    let mut reader = FrameReader::new(input, stopped);
    let failure = |error, at| frame_failure(error, index as u64, offset, at);
    let mut magic = [0; 4];
    reader.fill(&mut magic).map_err(|error| failure(error, offset))?;
    if magic != crate::frame::FRAME_MAGIC {
        return Err(Error::Frame { index: index as u64, offset, what: "it does not begin with the magic of zstd" });
    }
    let outcome = reader.read_frame(buffer, PIECE_LEN);
    let lens = outcome.map_err(|error| failure(error, offset + reader.read))?;
    if (lens.frame as u64, lens.piece as u64) != (entry.frame_len.into(), entry.piece_len.into()) {
        return Err(Error::Frame { index: index as u64, offset, what: "its lengths differ from the seek table" });
    }
    Ok(FrameJob { index: index as u64, offset, lens })
}

fn read_statement(input: &mut (impl Read + Seek), offset: u64, entry: &Entry, pieces: usize) -> Result<Vec<u8>, Error> {
    let invalid = |what| Error::Statement { offset, what };
    let payload_len = (entry.frame_len as usize).checked_sub(SKIPPABLE_HEAD_LEN);
    let payload_len = payload_len.filter(|len| entry.piece_len == 0 && *len <= Statement::payload_len_max(pieces));
    let payload_len = payload_len.ok_or(invalid("the seek table declares an impossible length"))?;
    let mut bytes = vec![0; SKIPPABLE_HEAD_LEN + payload_len];
    read_at(input, offset, &mut bytes, "the statement")?;
    let (head, payload) = bytes.split_at(SKIPPABLE_HEAD_LEN);
    if head[..4] != STATEMENT_MAGIC || head[4..] != (payload_len as u32).to_le_bytes() {
        return Err(invalid("it does not begin with its magic and its length"));
    }
    Ok(payload.to_vec())
}

fn read_at(input: &mut (impl Read + Seek), offset: u64, bytes: &mut [u8], inside: &str) -> Result<(), Error> {
    input.seek(SeekFrom::Start(offset)).map_err(Error::Read)?;
    let got = read_full(input, bytes).map_err(Error::Read)?;
    if got == bytes.len() { Ok(()) } else { Err(truncated(offset + got as u64, inside)) }
}
