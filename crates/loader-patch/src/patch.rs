//! Reading and applying a patch.

use crate::codec::{decompress, from_planes};
use crate::format::{FRAME_MAX, LIST_MAX, MAGIC, OldCursor, Operation, WINDOW_MAX, compressed_max};
use crate::{Error, OldContent};
use loader_pack::{ReleaseId, StatedContent, Statement};
use loader_pipe::read_full;
use std::io::{self, Read};

/// Length of the heads of a group: length of the compressed list, length of the list.
const GROUP_HEAD_LEN: usize = 8;

/// A patch whose head was read.
#[derive(Debug)]
pub struct Patch<R> {
    input: CountedReader<R>,
    old_id: [u8; 32],
    statement: Statement,
    statement_bytes: Vec<u8>,
}

/// What was applied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchCounts {
    /// Number of bytes of the new content that were copied.
    pub copied: u64,
    /// Number of bytes of the new content that were in frames.
    pub coded: u64,
    /// Number of bytes of the patch.
    pub patch_len: u64,
}

impl<R: Read> Patch<R> {
    /// Reads the head of a patch, up to the statement about the new content.
    ///
    /// # Errors
    /// [`Error::NotPatch`], [`Error::Version`], [`Error::Truncated`], [`Error::Invalid`],
    /// [`Error::Statement`], [`Error::Read`].
    pub fn read(input: R) -> Result<Self, Error> {
        let mut input = CountedReader { input, read: 0 };
        let mut magic = [0; MAGIC.len()];
        input.fill(&mut magic, "its magic")?;
        match (magic == MAGIC, magic[..7] == MAGIC[..7]) {
            (true, _) => {}
            (false, true) => return Err(Error::Version(magic[7])),
            (false, false) => return Err(Error::NotPatch),
        }
        let mut old_id = [0; 32];
        input.fill(&mut old_id, "the id of the old release")?;
        let len = input.number("the statement")?;
        if len > Statement::len_max() {
            return Err(input.invalid("a statement that is too long"));
        }
        // Memory grows with what is there, not with what is declared.
        let mut statement_bytes = Vec::new();
        let got = (&mut input.input).take(len as u64).read_to_end(&mut statement_bytes).map_err(Error::Read)?;
        input.read += got as u64;
        if got < len {
            return Err(Error::Truncated { at: input.read, inside: "the statement" });
        }
        let statement = Statement::decode(&statement_bytes).map_err(Error::Statement)?;
        Ok(Self { input, old_id, statement, statement_bytes })
    }

    /// Returns the statement about the new content.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Returns the statement and its bytes with all signatures.
    pub fn stated_content(&self) -> StatedContent<'_> {
        StatedContent { statement: &self.statement, bytes: &self.statement_bytes }
    }

    /// Checks that the patch is for the release `old`.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn check_old(&self, old: &ReleaseId) -> Result<(), Error> {
        if *old.as_bytes() == self.old_id {
            return Ok(());
        }
        Err(Error::Mismatch { expected: Box::new(ReleaseId::from_bytes(self.old_id)), actual: Box::new(*old) })
    }

    /// Returns the new content as a reader, which reads the rest of the patch. It returns at most
    /// as many bytes as the statement declares, and its errors contain an [`Error`]
    /// ([`Error::from_io`]). The caller compares the content with the statement.
    pub fn apply<'a, O: OldContent>(&'a mut self, old: &'a mut O) -> NewContent<'a, R, O> {
        NewContent {
            missing: self.statement.content_len(),
            input: &mut self.input,
            old_len: old.content_len(),
            old,
            cursor: OldCursor::default(),
            list: Vec::new(),
            list_at: 0,
            copy: (0, 0),
            new: vec![0; FRAME_MAX],
            unread: 0..0,
            frame: Vec::new(),
            window: Vec::new(),
            counts: PatchCounts::default(),
            is_failed: false,
        }
    }
}

/// The new content of a patch that is applied. It needs memory for a window, a frame and its
/// content, and a list of operations: 1.7 MiB.
#[derive(Debug)]
pub struct NewContent<'a, R, O> {
    input: &'a mut CountedReader<R>,
    old: &'a mut O,
    old_len: u64,
    /// Number of bytes of the new content that no operation has described yet.
    missing: u64,
    cursor: OldCursor,
    /// Operations of the current group.
    list: Vec<u8>,
    /// Offset of the next operation in the list.
    list_at: usize,
    /// Offset and number of the bytes that the current operation still copies.
    copy: (u64, u64),
    /// Bytes of the last frame.
    new: Vec<u8>,
    /// Range of `new` that was not returned yet.
    unread: std::ops::Range<usize>,
    frame: Vec<u8>,
    window: Vec<u8>,
    counts: PatchCounts,
    /// After an error, nothing more is returned.
    is_failed: bool,
}

impl<R: Read, O: OldContent> NewContent<'_, R, O> {
    /// Returns what was applied so far.
    pub fn counts(&self) -> PatchCounts {
        PatchCounts { patch_len: self.input.read, ..self.counts }
    }

    /// Reads the next operation. Returns false at the end.
    fn next_operation(&mut self) -> Result<bool, Error> {
        if self.list_at == self.list.len() {
            if self.missing == 0 {
                return self.input.check_end().map(|()| false);
            }
            self.read_list()?;
        }
        let mut rest = &self.list[self.list_at..];
        let operation = self.cursor.decode(&mut rest, self.old_len).map_err(|what| self.input.invalid(what))?;
        self.list_at = self.list.len() - rest.len();
        let len = match operation {
            Operation::Copy { len, .. } => len,
            Operation::Frame { len, .. } | Operation::Difference { len, .. } => len as u64,
        };
        let missing = self.missing.checked_sub(len);
        self.missing = missing.ok_or_else(|| self.input.invalid("more content than the statement declares"))?;
        match operation {
            Operation::Copy { len, old } => {
                self.copy = (old, len);
                self.counts.copied += len;
            }
            Operation::Frame { len, compressed, old, window } => {
                self.read_frame(compressed)?;
                self.read_window(old, window)?;
                self.decompress(len, &Prefix::Window)?;
            }
            Operation::Difference { len, compressed, old, shape } => {
                self.read_frame(compressed)?;
                self.decompress(len, &Prefix::None)?;
                self.read_window(old, len)?;
                if shape.phase > len {
                    return Err(self.input.invalid("elements of an unknown shape"));
                }
                self.frame.clear();
                self.frame.extend(&self.new[..len]);
                from_planes(&self.frame, &self.window, shape, &mut self.new[..len]);
            }
        }
        Ok(true)
    }

    fn read_list(&mut self) -> Result<(), Error> {
        let compressed = self.input.number("a group")?;
        let len = self.input.number("a group")?;
        if len == 0 || len > LIST_MAX || compressed > compressed_max(len) {
            return Err(self.input.invalid("a list of operations with an impossible length"));
        }
        self.read_frame(compressed)?;
        self.list.resize(len, 0);
        self.list_at = 0;
        if decompress(&self.frame, &[], &mut self.list) {
            return Ok(());
        }
        Err(self.input.invalid("a list of operations that cannot be decompressed"))
    }

    fn read_frame(&mut self, len: usize) -> Result<(), Error> {
        self.frame.resize(len, 0);
        self.input.fill(&mut self.frame, "a frame")
    }

    /// Reads a range of the old content, which was checked.
    fn read_window(&mut self, offset: u64, len: usize) -> Result<(), Error> {
        self.window.resize(len, 0);
        self.old.read_at(offset, &mut self.window).map_err(Error::Old)
    }

    fn decompress(&mut self, len: usize, prefix: &Prefix) -> Result<(), Error> {
        let prefix = match prefix {
            Prefix::Window => &self.window[..],
            Prefix::None => &[],
        };
        if !decompress(&self.frame, prefix, &mut self.new[..len]) {
            return Err(self.input.invalid("a frame that cannot be decompressed"));
        }
        self.unread = 0..len;
        self.counts.coded += len as u64;
        Ok(())
    }
}

/// Bytes that come before the content of a frame.
enum Prefix {
    Window,
    None,
}

impl<R: Read, O: OldContent> Read for NewContent<'_, R, O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_failed {
            return Ok(0);
        }
        self.is_failed = true;
        while self.copy.1 == 0 && self.unread.is_empty() {
            if !self.next_operation()? {
                return Ok(0);
            }
        }
        let len = if self.unread.is_empty() {
            let (offset, left) = self.copy;
            let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.old.read_at(offset, &mut buffer[..len]).map_err(Error::Old)?;
            self.copy = (offset + len as u64, left - len as u64);
            len
        } else {
            let len = self.unread.len().min(buffer.len());
            buffer[..len].copy_from_slice(&self.new[self.unread.start..self.unread.start + len]);
            self.unread.start += len;
            len
        };
        self.is_failed = false;
        Ok(len)
    }
}

/// A reader that counts.
#[derive(Debug)]
struct CountedReader<R> {
    input: R,
    read: u64,
}

impl<R: Read> CountedReader<R> {
    fn fill(&mut self, bytes: &mut [u8], inside: &'static str) -> Result<(), Error> {
        let got = read_full(&mut self.input, bytes).map_err(Error::Read)?;
        self.read += got as u64;
        if got == bytes.len() { Ok(()) } else { Err(Error::Truncated { at: self.read, inside }) }
    }

    fn number(&mut self, inside: &'static str) -> Result<usize, Error> {
        let mut bytes = [0; GROUP_HEAD_LEN / 2];
        self.fill(&mut bytes, inside)?;
        Ok(u32::from_be_bytes(bytes) as usize)
    }

    fn invalid(&self, what: &'static str) -> Error {
        Error::Invalid { at: self.read, what }
    }

    fn check_end(&mut self) -> Result<(), Error> {
        match read_full(&mut self.input, &mut [0]).map_err(Error::Read)? {
            0 => Ok(()),
            _ => Err(Error::Trailing { at: self.read }),
        }
    }
}

const _: () = assert!(WINDOW_MAX >= FRAME_MAX);
