//! The scanner: a tar as it passes.
//!
//! The `tar` crate reads archives for unpacking: it takes a plain end of input
//! for the end of the archive, skips padding and the header blocks of long names
//! unseen, and allocates whatever a long name asks for. What is needed here is
//! the opposite (every byte goes on as it came, the two blocks of zeros must be
//! there, the blocks of a member that is held back must be held back too), so
//! the blocks are read here, and the crate writes the archives of the tests.

use crate::content::{Content, packing};
use crate::contents::Contents;
use crate::header::{BLOCK_LEN, Block, RawHeader, is_file, is_zero};
use crate::manifest::{self, Held};
use crate::name::{clean, is_sha256, promised};
use crate::pax::{EXTENSION_MAX, Extension};
use crate::{Error, Image, Omit};

/// Most bytes of zeros that are read after the end of an archive; tar pads to
/// its record, 10 KiB unless told otherwise.
const PADDING_MAX: u64 = 16 << 20;

/// What the scanner gives while bytes pass.
#[derive(Debug)]
pub enum Passed<'a> {
    /// Bytes that an engine may have now.
    Bytes(&'a [u8]),
    /// A layer has passed, or was left out.
    Layer {
        /// Name of the member.
        name: &'a str,
        /// Its length in bytes.
        size: u64,
        /// Whether it was left out.
        omitted: bool,
    },
}

/// A whole archive whose digests all match.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The images it holds.
    pub images: Vec<Image>,
    /// What was held back, and the end of the archive: the commit.
    pub tail: Vec<u8>,
    /// Bytes of the archive.
    pub len: u64,
    /// Layers that were left out.
    pub omitted: u64,
    /// Their bytes.
    pub omitted_len: u64,
}

/// Reads a tar that is pushed into it piece by piece. Memory is a few MiB at
/// most, whatever the archive's size.
pub struct Scanner {
    offset: u64,
    place: Place,
    block: Box<Block>,
    filled: usize,
    /// The header of the member being read, with the extensions in front of it.
    head: Vec<u8>,
    extension: Extension,
    contents: Contents,
    held: Held,
    omitted: u64,
    omitted_len: u64,
}

enum Place {
    /// In a header block.
    Header,
    /// In the content of an extension, `left` bytes with padding.
    Extension { kind: u8, start: usize, len: usize, left: u64 },
    /// In a member's content.
    Content { member: Box<Member>, left: u64 },
    /// In the padding after it.
    Padding { route: Route, left: usize },
    /// After one block of zeros.
    HalfEnd,
    /// After two.
    End { at: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Pass,
    Hold,
    Omit,
}

struct Member {
    name: String,
    route: Route,
    size: u64,
    content: Option<Content>,
    document: Option<Vec<u8>>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new(Omit::default())
    }
}

impl Scanner {
    /// A scanner that leaves out what `omit` says.
    pub fn new(omit: Omit) -> Self {
        Self {
            offset: 0,
            place: Place::Header,
            block: Box::new([0; BLOCK_LEN]),
            filled: 0,
            head: Vec::new(),
            extension: Extension::default(),
            contents: Contents::new(omit),
            held: Held::default(),
            omitted: 0,
            omitted_len: 0,
        }
    }

    /// Takes the next bytes and gives to `pass` what may go on, in order.
    ///
    /// # Errors
    /// Any [`Error`] of the archive but those of its end, and those of `pass`.
    pub fn push<E: From<Error>>(
        &mut self,
        mut bytes: &[u8],
        pass: &mut impl FnMut(Passed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Header | Place::HalfEnd => {
                    let taken = bytes.len().min(BLOCK_LEN - self.filled);
                    self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                    self.filled += taken;
                    if self.filled == BLOCK_LEN {
                        self.filled = 0;
                        self.take_block(self.offset + taken as u64 - BLOCK_LEN as u64, pass)?;
                    }
                    taken
                }
                Place::Extension { kind, start, len, left } => {
                    let taken = at_most(*left, bytes.len());
                    self.head.extend(&bytes[..taken]);
                    *left -= taken as u64;
                    if *left == 0 {
                        let content = &self.head[*start..*start + *len];
                        let at = self.offset + taken as u64;
                        self.extension.take(*kind, content).map_err(|why| Error::Header { at, why })?;
                        self.place = Place::Header;
                    }
                    taken
                }
                Place::Content { member, left } => {
                    let taken = at_most(*left, bytes.len());
                    *left -= taken as u64;
                    let done = *left == 0;
                    // The engine works on the bytes while they are hashed here.
                    match member.route {
                        Route::Pass => pass(Passed::Bytes(&bytes[..taken]))?,
                        Route::Hold => self.held.extend(&bytes[..taken]),
                        Route::Omit => {}
                    }
                    member.look_at(&bytes[..taken], &mut self.contents)?;
                    if done {
                        self.end_member(pass)?;
                    }
                    taken
                }
                Place::Padding { route, left } => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    match route {
                        Route::Pass => pass(Passed::Bytes(&bytes[..taken]))?,
                        Route::Hold => self.held.extend(&bytes[..taken]),
                        Route::Omit => {}
                    }
                    if *left == 0 {
                        self.place = Place::Header;
                    }
                    taken
                }
                Place::End { at } => {
                    if let Some(garbage) = bytes.iter().position(|byte| *byte != 0) {
                        return Err(Error::Trailing { at: self.offset + garbage as u64 }.into());
                    }
                    if self.offset - *at > PADDING_MAX {
                        return Err(Error::Trailing { at: self.offset }.into());
                    }
                    bytes.len()
                }
            };
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// The archive, where the input ended after its end and every digest matches.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Empty`], [`Error::NotArchive`], and what is
    /// found where the documents are read: [`Error::Missing`], [`Error::Digest`],
    /// [`Error::Malformed`], [`Error::Unsupported`].
    pub fn finish(mut self) -> Result<Archive, Error> {
        let inside = match &self.place {
            Place::End { .. } => None,
            _ if self.offset == 0 => return Err(Error::Empty),
            _ if self.offset < BLOCK_LEN as u64 => {
                return Err(Error::NotArchive { looks_like: looks_like(&self.block[..self.filled]) });
            }
            Place::Content { member, .. } => Some(member.name.clone()),
            Place::Padding { .. } => Some("the padding of a member".to_owned()),
            Place::Header if self.filled == 0 && self.head.is_empty() => {
                Some("a list of members without the two blocks of zeros at its end".to_owned())
            }
            Place::Header | Place::Extension { .. } => Some("the header of a member".to_owned()),
            Place::HalfEnd => Some("the two blocks of zeros at its end".to_owned()),
        };
        if let Some(inside) = inside {
            return Err(Error::Truncated { at: self.offset, inside });
        }
        let images = manifest::images(&self.contents, &self.held)?;
        let mut tail = self.held.take_bytes();
        tail.resize(tail.len() + 2 * BLOCK_LEN, 0);
        Ok(Archive { images, tail, len: self.offset, omitted: self.omitted, omitted_len: self.omitted_len })
    }

    fn take_block<E: From<Error>>(
        &mut self,
        at: u64,
        pass: &mut impl FnMut(Passed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if is_zero(&self.block) && self.head.is_empty() {
            self.place = match self.place {
                Place::HalfEnd if at == BLOCK_LEN as u64 => {
                    return Err(Error::NotArchive { looks_like: "it begins with zeros" }.into());
                }
                Place::HalfEnd => Place::End { at: at + BLOCK_LEN as u64 },
                _ => Place::HalfEnd,
            };
            return Ok(());
        }
        if matches!(self.place, Place::HalfEnd) {
            return Err(Error::Header { at, why: "it follows a block of zeros" }.into());
        }
        // An engine looks for a packing in the first bytes it gets: a name can be made to look like one.
        match packing(&self.block[..]) {
            Some(coding) if at == 0 => return Err(Error::Packed { coding }.into()),
            Some(_) => return Err(Error::Header { at, why: "its name begins like a packed file" }.into()),
            None => {}
        }
        let mut header = RawHeader::parse(&self.block).map_err(|why| match at {
            0 => Error::NotArchive { looks_like: looks_like(self.block.as_slice()) },
            _ => Error::Header { at, why },
        })?;
        self.head.extend(self.block.as_slice());
        if Extension::is_extension(header.kind) {
            let padded = header.size.checked_next_multiple_of(BLOCK_LEN as u64).unwrap_or(u64::MAX);
            if self.head.len() as u64 > EXTENSION_MAX.saturating_sub(padded) {
                return Err(Error::Header { at, why: "a name of more than 64 KiB" }.into());
            }
            if header.size == 0 {
                return Err(Error::Header { at, why: "an empty extension" }.into());
            }
            let (kind, start, len) = (header.kind, self.head.len(), header.size as usize);
            self.place = Place::Extension { kind, start, len, left: padded };
            return Ok(());
        }
        std::mem::take(&mut self.extension).apply(&mut header);
        self.begin_member(at, &header)?;
        if let Place::Content { member, left } = &self.place {
            let empty = *left == 0;
            match member.route {
                Route::Pass => pass(Passed::Bytes(&self.head))?,
                Route::Hold => self.held.begin(&member.name, &self.head, member.size)?,
                Route::Omit => {}
            }
            self.head.clear();
            if empty {
                self.end_member(pass)?;
            }
        }
        Ok(())
    }

    fn begin_member(&mut self, at: u64, header: &RawHeader) -> Result<(), Error> {
        let name = std::str::from_utf8(&header.name).map_err(|_| Error::Header { at, why: "its name is not UTF-8" })?;
        let name = clean(name)?;
        self.contents.check_folders(&name)?;
        let held = Held::is_held(&name);
        let file = is_file(header.kind);
        if file && header.name.ends_with(b"/") {
            return Err(Error::Header { at, why: "a file whose name ends in a slash" });
        }
        let mut route = if held { Route::Hold } else { Route::Pass };
        match header.kind {
            _ if file => {}
            _ if held => return Err(Error::malformed(&name, "is no file")),
            b'1' | b'2' => {
                let target = std::str::from_utf8(&header.link).unwrap_or_default();
                self.contents.add_link(&name, target, header.kind == b'1')?;
            }
            b'5' => {}
            _ => return Err(Error::Unsupported(format!("{name}: a kind of member that no engine writes"))),
        }
        // Folders and links have no content, whatever their size field says.
        let size = if file { header.size } else { 0 };
        if size > i64::MAX as u64 {
            return Err(Error::Header { at, why: "its size is impossible" });
        }
        if file && self.contents.leaves_out(&name, size) {
            route = Route::Omit;
        }
        let content = (file && route == Route::Pass).then(|| Content::new(size, promised(&name).is_none()));
        let member = Member { name, route, size, content, document: None };
        self.place = Place::Content { member: Box::new(member), left: size };
        Ok(())
    }

    fn end_member<E: From<Error>>(&mut self, pass: &mut impl FnMut(Passed<'_>) -> Result<(), E>) -> Result<(), E> {
        let Place::Content { member, .. } = std::mem::replace(&mut self.place, Place::Header) else { return Ok(()) };
        let Member { name, route, size, content, document } = *member;
        let left = size.next_multiple_of(BLOCK_LEN as u64) - size;
        if left > 0 {
            self.place = Place::Padding { route, left: left as usize };
        }
        if route == Route::Omit {
            self.omitted += 1;
            self.omitted_len += size;
            self.contents.add_left_out(&name);
            return pass(Passed::Layer { name: &name, size, omitted: true });
        }
        let Some(content) = content else { return Ok(()) };
        let file = content.finish(&name)?;
        let layer =
            document.is_none() && (name.ends_with(".tar") || name.ends_with(".gz") || name.starts_with("blobs/"));
        self.contents.add_file(&name, file)?;
        if let Some(document) = document {
            self.contents.add_document(&name, document);
        }
        if layer { pass(Passed::Layer { name: &name, size, omitted: false }) } else { Ok(()) }
    }
}

impl Member {
    /// Hashes, and keeps what may be a config or a manifest.
    fn look_at(&mut self, bytes: &[u8], contents: &mut Contents) -> Result<(), Error> {
        let Some(content) = &mut self.content else { return Ok(()) };
        if content.is_fresh() && bytes.first() == Some(&b'{') && promised(&self.name).is_some() {
            self.document = contents.room_for(self.size);
        }
        if let Some(document) = &mut self.document {
            document.extend(bytes);
        }
        content.push(&self.name, bytes)
    }
}

/// Whether `start`, at least one block, begins with a member that archives of
/// images begin with, or with one that says nothing, such as `./`. A guess, to
/// spare a long read; a scan decides.
pub fn may_hold_images(start: &[u8]) -> bool {
    let header = start.first_chunk().and_then(|block| RawHeader::parse(block).ok());
    let Some(header) = header else { return false };
    let name = String::from_utf8_lossy(&header.name);
    let name = name.trim_start_matches("./");
    let part = name.split('/').next().unwrap_or_default();
    let stem = part.split('.').next().unwrap_or_default();
    let digits = stem.strip_prefix("sha256:").unwrap_or(stem);
    name.is_empty()
        || is_sha256(digits)
        || part == "blobs"
        || Held::is_held(part)
        || Extension::is_extension(header.kind)
}

fn at_most(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}

/// What the start of something that is no tar looks like, for a person.
fn looks_like(start: &[u8]) -> &'static str {
    match start {
        [0x89, b'A', b'Z', b'S', ..] => "it is still sealed; put az-decrypt in front",
        [b'{' | b'[', ..] => "it looks like JSON",
        [b'<', ..] => "it looks like HTML or XML",
        [b'P', b'K', 3, 4, ..] => "it looks like zip",
        _ => "it is no tar",
    }
}
