//! Writing a patch.

use crate::Error;
use crate::codec::compress;
use crate::format::{LIST_MAX, MAGIC, OldCursor, Operation, Shape, compressed_max};
use loader_pack::ReleaseId;
use std::io::Write;

/// A list of operations is written when it has this length in bytes.
const LIST_FULL: usize = LIST_MAX / 2;

/// A group is written when its frames have this length in bytes together.
const FRAMES_FULL: usize = 1024 * 1024;

/// Level of compression for lists of operations, which are short.
const LIST_LEVEL: i32 = 19;

/// Writes a patch. Holds the operations and the frames of one group, at most 1.3 MiB.
#[derive(Debug)]
pub struct PatchWriter<W> {
    output: W,
    written: u64,
    cursor: OldCursor,
    list: Vec<u8>,
    frames: Vec<u8>,
    /// The last copy, which the next one may continue.
    copy: Option<(u64, u64)>,
}

impl<W: Write> PatchWriter<W> {
    /// Writes the head. `statement` contains the bytes of the statement about the new content with
    /// its signatures.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn new(output: W, old: &ReleaseId, statement: &[u8]) -> Result<Self, Error> {
        let mut writer =
            Self { output, written: 0, cursor: OldCursor::default(), list: Vec::new(), frames: Vec::new(), copy: None };
        for part in [&MAGIC[..], old.as_bytes(), &(statement.len() as u32).to_be_bytes(), statement] {
            writer.put(part)?;
        }
        Ok(writer)
    }

    /// Adds `len` bytes of the old content from `old`.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Compress`].
    pub fn copy(&mut self, old: u64, len: u64) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        match &mut self.copy {
            Some((start, copied)) if *start + *copied == old => *copied += len,
            _ => {
                self.end_copy()?;
                self.copy = Some((old, len));
            }
        }
        Ok(())
    }

    /// Adds `len` bytes in `frame`, a zstd frame with the old bytes `old..old + window` as its
    /// prefix.
    ///
    /// # Errors
    /// Those of [`PatchWriter::copy`].
    pub(crate) fn frame(&mut self, len: usize, frame: &[u8], old: u64, window: usize) -> Result<(), Error> {
        self.coded(Operation::Frame { len, compressed: frame.len(), old, window }, frame)
    }

    /// Adds `len` bytes in `frame`, which contains differences from the old bytes from `old`.
    ///
    /// # Errors
    /// Those of [`PatchWriter::copy`].
    pub(crate) fn difference(&mut self, len: usize, frame: &[u8], old: u64, shape: Shape) -> Result<(), Error> {
        self.coded(Operation::Difference { len, compressed: frame.len(), old, shape }, frame)
    }

    fn coded(&mut self, operation: Operation, frame: &[u8]) -> Result<(), Error> {
        self.end_copy()?;
        self.cursor.encode(operation, &mut self.list);
        self.frames.extend(frame);
        self.write_if_full()
    }

    fn end_copy(&mut self) -> Result<(), Error> {
        if let Some((old, len)) = self.copy.take() {
            self.cursor.encode(Operation::Copy { len, old }, &mut self.list);
            self.write_if_full()?;
        }
        Ok(())
    }

    fn write_if_full(&mut self) -> Result<(), Error> {
        if self.list.len() < LIST_FULL && self.frames.len() < FRAMES_FULL {
            return Ok(());
        }
        self.write_group()
    }

    fn write_group(&mut self) -> Result<(), Error> {
        if self.list.is_empty() {
            return Ok(());
        }
        let list = std::mem::take(&mut self.list);
        let mut compressed = vec![0; compressed_max(list.len())];
        let len = compress(&list, &[], LIST_LEVEL, &mut compressed).ok_or(Error::Compress)?;
        self.put(&(len as u32).to_be_bytes())?;
        self.put(&(list.len() as u32).to_be_bytes())?;
        self.put(&compressed[..len])?;
        let frames = std::mem::take(&mut self.frames);
        self.put(&frames)?;
        (self.list, self.frames) = (list, frames);
        self.list.clear();
        self.frames.clear();
        Ok(())
    }

    /// Writes the rest. Returns the length of the patch in bytes and the output.
    ///
    /// # Errors
    /// Those of [`PatchWriter::copy`].
    pub fn finish(mut self) -> Result<(u64, W), Error> {
        self.end_copy()?;
        self.write_group()?;
        self.output.flush().map_err(Error::Write)?;
        Ok((self.written, self.output))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes).map_err(Error::Write)
    }
}
