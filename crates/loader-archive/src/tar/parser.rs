//! A parser of tar archives that the bytes are pushed into, piece by piece.

use super::extensions::{EXTENSIONS_MAX, Extensions};
use super::header::{BLOCK_LEN, Block, Header, is_header_only, is_zero};
use super::write::padding_len;

/// Maximum number of zeros after the end of an archive. GNU tar pads to its record
/// length, 10 KiB by default.
const TRAILING_ZEROS_MAX: u64 = 16 << 20;

/// How strict the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// An archive of images: two blocks of zeros end it, only zeros follow, and
    /// anything that readers interpret differently is refused.
    Archive,
    /// A layer: as Go's reader accepts it, which every engine uses.
    Layer,
}

/// A member, from its header and its extensions.
#[derive(Debug)]
pub(crate) struct Member {
    /// Name as stored.
    pub(crate) name: Vec<u8>,
    /// Target of a link as stored.
    pub(crate) link: Vec<u8>,
    /// Type flag.
    pub(crate) kind: u8,
    /// Number of content bytes that follow.
    pub(crate) size: u64,
    /// True for a sparse file: the content is not what the file would contain.
    pub(crate) is_sparse: bool,
}

/// Receives what the parser finds.
pub(crate) trait Visitor {
    /// What stops the parser.
    type Error: From<Flaw>;

    /// A member begins.
    fn begin(&mut self, member: Member) -> Result<(), Self::Error>;

    /// The next bytes of its content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Its content is complete.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Why the bytes are not a tar archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The first block is no header.
    NoTar,
    /// A later block is no header.
    Header { at: u64, why: &'static str },
    /// Bytes after the end of the archive.
    Trailing { at: u64 },
    /// The input ends too early, inside `inside`.
    Truncated { at: u64, inside: &'static str },
    /// No input at all.
    Empty,
}

#[derive(Debug)]
enum State {
    /// In a header block.
    Header,
    /// In the content of an extension, `left` bytes with the padding.
    Extension { kind: u8, size: usize, left: u64 },
    /// In the extra header blocks of an old GNU sparse file.
    SparseMap { size: u64 },
    /// In the content of a member.
    Content { left: u64, padding: usize },
    /// In the padding after it.
    Padding { left: usize },
    /// After one block of zeros.
    HalfEnd,
    /// After the second one.
    End { at: u64 },
}

/// The parser. It needs at most 1 MiB of memory.
#[derive(Debug)]
pub(crate) struct Parser {
    rules: Rules,
    state: State,
    offset: u64,
    block: Block,
    filled: usize,
    /// Content of the current extension.
    content: Vec<u8>,
    /// Bytes of all extensions of the next member.
    extensions_len: u64,
    extensions: Extensions,
}

impl Parser {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Header,
            offset: 0,
            block: [0; BLOCK_LEN],
            filled: 0,
            content: Vec::new(),
            extensions_len: 0,
            extensions: Extensions::default(),
        }
    }

    /// Number of bytes that were pushed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the first bytes if there were fewer than one block.
    pub(crate) fn start(&self) -> &[u8] {
        &self.block[..self.filled]
    }

    /// Returns the first block of an archive whose first block is no header.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    /// Returns true while the content of a member is read.
    pub(crate) fn is_in_content(&self) -> bool {
        matches!(self.state, State::Content { .. })
    }

    /// Parses the next bytes.
    ///
    /// # Errors
    /// A [`Flaw`], or whatever the visitor returns.
    pub(crate) fn push<V: Visitor>(&mut self, mut bytes: &[u8], visitor: &mut V) -> Result<(), V::Error> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Header | State::HalfEnd | State::SparseMap { .. } => {
                    let taken = bytes.len().min(BLOCK_LEN - self.filled);
                    self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                    self.filled += taken;
                    if self.filled == BLOCK_LEN {
                        self.filled = 0;
                        self.take_block(self.offset + taken as u64 - BLOCK_LEN as u64, visitor)?;
                    }
                    taken
                }
                State::Extension { kind, size, left } => {
                    let taken = at_most(*left, bytes.len());
                    self.content.extend(&bytes[..taken]);
                    *left -= taken as u64;
                    if *left == 0 {
                        let (kind, size) = (*kind, *size);
                        let at = self.offset + taken as u64;
                        self.state = State::Header;
                        let content = std::mem::take(&mut self.content);
                        self.add_extension(kind, &content[..size], at)?;
                    }
                    taken
                }
                State::Content { left, padding } => {
                    let taken = at_most(*left, bytes.len());
                    *left -= taken as u64;
                    let (is_done, padding) = (*left == 0, *padding);
                    visitor.content(&bytes[..taken])?;
                    if is_done {
                        self.end_content(padding, visitor)?;
                    }
                    taken
                }
                State::Padding { left } => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    taken
                }
                State::End { at } => {
                    let at = *at;
                    self.check_trailing(at, bytes)?;
                    bytes.len()
                }
            };
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Checks that the archive is complete.
    ///
    /// # Errors
    /// [`Flaw::Empty`], [`Flaw::NoTar`], [`Flaw::Truncated`].
    pub(crate) fn finish(&self) -> Result<(), Flaw> {
        let truncated = |inside| Err(Flaw::Truncated { at: self.offset, inside });
        match &self.state {
            State::End { .. } => Ok(()),
            _ if self.offset == 0 && self.rules == Rules::Layer => Ok(()),
            _ if self.offset == 0 => Err(Flaw::Empty),
            _ if self.offset < BLOCK_LEN as u64 => Err(Flaw::NoTar),
            State::Content { .. } => truncated("the content of a member"),
            State::Padding { .. } => truncated("the padding of a member"),
            // Go's reader accepts the end of the input at the end of a member.
            State::Header | State::HalfEnd if self.rules == Rules::Layer && self.filled == 0 => Ok(()),
            State::Header if self.filled == 0 && self.extensions_len == 0 => {
                truncated("a list of members without the two blocks of zeros at its end")
            }
            State::Header | State::Extension { .. } | State::SparseMap { .. } => truncated("the header of a member"),
            State::HalfEnd => truncated("the two blocks of zeros at its end"),
        }
    }

    fn take_block<V: Visitor>(&mut self, at: u64, visitor: &mut V) -> Result<(), V::Error> {
        if let State::SparseMap { size } = self.state {
            // A byte after the 21 entries of the map announces one more block.
            if self.block[504] == 0 {
                self.begin_content(size, visitor)?;
            }
            return Ok(());
        }
        if is_zero(&self.block) && self.extensions_len == 0 {
            self.state = match self.state {
                State::HalfEnd if at == BLOCK_LEN as u64 && self.rules == Rules::Archive => {
                    return Err(Flaw::NoTar.into());
                }
                State::HalfEnd => State::End { at: at + BLOCK_LEN as u64 },
                _ => State::HalfEnd,
            };
            return Ok(());
        }
        if matches!(self.state, State::HalfEnd) {
            return Err(Flaw::Header { at, why: "it follows a block of zeros" }.into());
        }
        let mut header = Header::parse(&self.block).map_err(|why| match at {
            0 => Flaw::NoTar,
            _ => Flaw::Header { at, why },
        })?;
        if Extensions::is_extension(header.kind) {
            return self.begin_extension(at, &header).map_err(V::Error::from);
        }
        let extensions = std::mem::take(&mut self.extensions);
        self.extensions_len = 0;
        let is_old_sparse = header.kind == b'S';
        let is_sparse = is_old_sparse || extensions.is_sparse();
        extensions.apply(&mut header);
        if header.size > i64::MAX as u64 {
            return Err(Flaw::Header { at, why: "its size is impossible" }.into());
        }
        let size = if is_header_only(header.kind) { 0 } else { header.size };
        visitor.begin(Member { name: header.name, link: header.link, kind: header.kind, size, is_sparse })?;
        if is_old_sparse && self.block[482] != 0 {
            self.state = State::SparseMap { size };
            return Ok(());
        }
        self.begin_content(size, visitor)
    }

    fn begin_extension(&mut self, at: u64, header: &Header) -> Result<(), Flaw> {
        if header.size == 0 {
            // GNU tar and Go never write one; an empty one changes nothing.
            return match self.rules {
                Rules::Archive => Err(Flaw::Header { at, why: "an empty extension" }),
                Rules::Layer => Ok(()),
            };
        }
        let padded = header.size.checked_next_multiple_of(BLOCK_LEN as u64).unwrap_or(u64::MAX);
        self.extensions_len = self.extensions_len.saturating_add(padded);
        if self.extensions_len > EXTENSIONS_MAX {
            return Err(Flaw::Header { at, why: "a name or its extensions have more than 1 MiB" });
        }
        self.state = State::Extension { kind: header.kind, size: header.size as usize, left: padded };
        Ok(())
    }

    fn add_extension(&mut self, kind: u8, content: &[u8], at: u64) -> Result<(), Flaw> {
        if self.rules == Rules::Layer {
            match kind {
                // Go's reader returns a global header as a member of its own, and of
                // several headers before a member the last one counts.
                b'g' => {
                    self.extensions_len = 0;
                    let records = Extensions::default().add(b'x', content);
                    return records.map_err(|why| Flaw::Header { at, why });
                }
                b'x' => self.extensions = Extensions::default(),
                _ => {}
            }
        }
        self.extensions.add(kind, content).map_err(|why| Flaw::Header { at, why })
    }

    fn begin_content<V: Visitor>(&mut self, size: u64, visitor: &mut V) -> Result<(), V::Error> {
        let padding = padding_len(size);
        self.state = State::Content { left: size, padding };
        if size == 0 { self.end_content(padding, visitor) } else { Ok(()) }
    }

    fn end_content<V: Visitor>(&mut self, padding: usize, visitor: &mut V) -> Result<(), V::Error> {
        self.state = if padding == 0 { State::Header } else { State::Padding { left: padding } };
        visitor.end()
    }

    fn check_trailing(&self, end: u64, bytes: &[u8]) -> Result<(), Flaw> {
        if self.rules == Rules::Layer {
            return Ok(());
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(position) => Err(Flaw::Trailing { at: self.offset + position as u64 }),
            None if self.offset - end > TRAILING_ZEROS_MAX => Err(Flaw::Trailing { at: self.offset }),
            None => Ok(()),
        }
    }
}

fn at_most(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}
