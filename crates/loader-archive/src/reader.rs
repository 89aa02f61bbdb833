//! Reads an archive of images that is pushed into it, and emits the layers as they
//! pass. Everything else is kept until the end and becomes the model.

use crate::compression::{Compression, MAGIC_LEN};
use crate::layer::LayerCheck;
use crate::members::{Blob, BlobKind, LayerPlace, Members};
use crate::model::{self, Archive};
use crate::names::{format_digest, link_target, normalize, promised_digest, shown};
use crate::tar::{BLOCK_LEN, Flaw, Header, Member, Parser, Rules, Visitor, is_file, is_zero};
use crate::{Error, SkipLayers};
use sha2::{Digest, Sha256};

/// Documents with a fixed name.
pub(crate) const NAMED_DOCUMENTS: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];

/// Maximum number of bytes of an attestation (in-toto statement) that is kept.
const STATEMENT_MAX: u64 = 64 * 1024;

/// What the reader finds while the bytes pass.
#[derive(Debug)]
pub enum Event<'a> {
    /// A layer begins.
    LayerBegins {
        /// Which layer of the archive it is.
        place: LayerPlace,
        /// Number of bytes that follow.
        size: u64,
    },
    /// The next bytes of the layer.
    LayerBytes(&'a [u8]),
    /// The layer is complete.
    LayerEnds {
        /// Name of the member.
        name: &'a str,
        /// Number of bytes.
        size: u64,
    },
    /// A layer that the engine has was skipped.
    LayerSkipped {
        /// Name of the member.
        name: &'a str,
        /// Number of bytes.
        size: u64,
    },
}

/// Reads an archive of images.
///
/// Its memory is a few MiB, whatever the size of the archive and the number and names
/// of its members. A zstd layer adds its window, at most 32 MiB.
pub struct ArchiveReader {
    parser: Parser,
    collector: Collector,
}

impl Default for ArchiveReader {
    fn default() -> Self {
        Self::new(SkipLayers::default())
    }
}

impl ArchiveReader {
    /// Creates a reader that skips the given layers.
    pub fn new(skip: SkipLayers) -> Self {
        let collector = Collector {
            members: Members::new(skip),
            current: None,
            layers: 0,
            skipped: 0,
            skipped_len: 0,
            has_image_members: false,
        };
        Self { parser: Parser::new(Rules::Archive), collector }
    }

    /// Reads the next bytes and passes the layers in them to `emit`.
    ///
    /// # Errors
    /// An [`Error`] as soon as the archive cannot become good, or that of `emit`.
    pub fn push<E: From<Error>>(
        &mut self,
        bytes: &[u8],
        emit: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut visitor = Emitting { collector: &mut self.collector, emit };
        match self.parser.push(bytes, &mut visitor) {
            Ok(()) => Ok(()),
            Err(Stop::Flaw(flaw)) => Err(self.explain(flaw).into()),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    /// Returns true if a member so far has a name that only archives of images have.
    pub fn has_image_members(&self) -> bool {
        self.collector.has_image_members
    }

    /// Returns the model, once the input has ended.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Empty`], [`Error::NotArchive`], and those of the
    /// documents that name images.
    pub fn finish(self) -> Result<Archive, Error> {
        self.parser.finish().map_err(|flaw| self.explain(flaw))?;
        let Collector { members, skipped, skipped_len, .. } = self.collector;
        let roots = model::roots(&members)?;
        Ok(Archive { roots, len: self.parser.offset(), skipped, skipped_len })
    }

    fn explain(&self, flaw: Flaw) -> Error {
        match flaw {
            Flaw::Empty => Error::Empty,
            Flaw::Header { at, why } => Error::Header { at, why },
            Flaw::Trailing { at } => Error::Trailing { at },
            Flaw::Truncated { at, inside } => {
                let name = self.collector.current.as_ref().filter(|_| self.parser.is_in_content());
                Error::Truncated { at, inside: name.map_or_else(|| inside.to_owned(), |current| current.shown.clone()) }
            }
            Flaw::NoTar => {
                let short = self.parser.start();
                let start = if short.is_empty() { &self.parser.block()[..] } else { short };
                match Compression::detect(start) {
                    Some(compression) => Error::Compressed { program: compression.as_str() },
                    None => Error::NotArchive { looks_like: looks_like(start) },
                }
            }
        }
    }
}

/// Collects what the parser finds.
struct Collector {
    members: Members,
    current: Option<Box<Current>>,
    /// Layers so far, for their names.
    layers: u32,
    skipped: u64,
    skipped_len: u64,
    has_image_members: bool,
}

/// The member that is being read.
struct Current {
    name: Vec<u8>,
    shown: String,
    size: u64,
    seen: u64,
    content: Content,
}

enum Content {
    /// The first bytes, which decide what it is.
    Start(Vec<u8>),
    Layer {
        check: Box<LayerCheck>,
        place: LayerPlace,
    },
    Document {
        text: Option<Vec<u8>>,
        digest: Box<Sha256>,
    },
    Other(Box<Sha256>),
    Skipped,
    /// A sparse file.
    Sparse,
    /// No file.
    None,
}

/// Why the parser stops.
enum Stop<E> {
    Flaw(Flaw),
    Error(E),
}

impl<E> From<Flaw> for Stop<E> {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// The collector together with the receiver of the layers.
struct Emitting<'a, F> {
    collector: &'a mut Collector,
    emit: &'a mut F,
}

impl<E: From<Error>, F: FnMut(Event<'_>) -> Result<(), E>> Visitor for Emitting<'_, F> {
    type Error = Stop<E>;

    fn begin(&mut self, member: Member) -> Result<(), Stop<E>> {
        self.collector.begin(member).map_err(|error| Stop::Error(error.into()))
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Stop<E>> {
        self.collector.content(bytes, self.emit).map_err(Stop::Error)
    }

    fn end(&mut self) -> Result<(), Stop<E>> {
        self.collector.end(self.emit).map_err(Stop::Error)
    }
}

impl Collector {
    fn begin(&mut self, member: Member) -> Result<(), Error> {
        // No document can name such a member, so that it does not matter.
        let Ok(name) = normalize(&member.name) else { return Ok(()) };
        let shown = shown(&name);
        let is_named_document = NAMED_DOCUMENTS.iter().any(|document| document.as_bytes() == name);
        self.has_image_members |= is_named_document || is_image_member(&name);
        let content = match member.kind {
            // A directory for some readers, a file for others.
            kind if is_file(kind) && member.name.ends_with(b"/") => Content::None,
            b'S' => Content::Sparse,
            kind if is_file(kind) && member.is_sparse => Content::Sparse,
            kind if is_file(kind) && self.members.is_skipped(&name, member.size) => Content::Skipped,
            kind if is_file(kind) => Content::Start(Vec::with_capacity(BLOCK_LEN)),
            _ if is_named_document => return Err(Error::malformed(&shown, "is no file")),
            b'1' | b'2' => {
                let target = match member.kind {
                    b'1' => normalize(&member.link).ok(),
                    _ => link_target(&name, &member.link),
                };
                if let Some(target) = target {
                    self.members.add_link(&name, &target);
                }
                Content::None
            }
            _ => Content::None,
        };
        self.current = Some(Box::new(Current { name, shown, size: member.size, seen: 0, content }));
        Ok(())
    }

    fn content<E: From<Error>>(
        &mut self,
        mut bytes: &[u8],
        emit: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.seen += bytes.len() as u64;
        if let Content::Start(start) = &mut current.content {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_LEN - start.len()));
            start.extend(head);
            bytes = rest;
            if start.len() == BLOCK_LEN || current.seen == current.size {
                self.classify(&mut current, emit)?;
            }
        }
        let outcome = if bytes.is_empty() { Ok(()) } else { current.push(bytes, emit) };
        self.current = Some(current);
        outcome
    }

    /// Decides from the first bytes what the member is, and passes them on.
    fn classify<E: From<Error>>(
        &mut self,
        current: &mut Current,
        emit: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Content::Start(start) = std::mem::replace(&mut current.content, Content::None) else { return Ok(()) };
        let compression = Compression::detect(&start[..start.len().min(MAGIC_LEN)]);
        let is_tar = start.first_chunk().is_some_and(|block| is_zero(block) || Header::parse(block).is_ok());
        let is_json = matches!(start.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['));
        let is_named_document = NAMED_DOCUMENTS.iter().any(|document| document.as_bytes() == current.name);
        current.content = if !is_named_document && (compression.is_some() || is_tar || start.is_empty()) {
            let blob_name = current.name.starts_with(b"blobs/sha256/");
            let promised = promised_digest(&current.name).filter(|_| blob_name);
            let place = LayerPlace { number: self.layers, promised };
            self.layers += 1;
            emit(Event::LayerBegins { place, size: current.size })?;
            Content::Layer { check: Box::new(LayerCheck::new(compression)), place }
        } else if is_json || is_named_document {
            // `docker save` up to 24 writes a file `json` for each layer, which nobody needs,
            // and a list of all files of an image (SBOM) must not use the memory for configs.
            let is_list = start.starts_with(b"{\"_type\"") && current.size > STATEMENT_MAX;
            let is_needed = !current.name.ends_with(b"/json") && !is_list;
            let text = (is_needed && self.members.reserve_document(current.size)).then(Vec::new);
            Content::Document { text, digest: Box::default() }
        } else {
            Content::Other(Box::default())
        };
        if start.is_empty() { Ok(()) } else { current.push(&start, emit) }
    }

    fn end<E: From<Error>>(&mut self, emit: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        if matches!(current.content, Content::Start(_)) {
            // An empty file.
            self.classify(&mut current, emit)?;
        }
        let Current { name, shown, size, content, .. } = *current;
        let (digest, kind) = match content {
            Content::Layer { check, place } => {
                let (digest, facts) = check.finish();
                emit(Event::LayerEnds { name: &shown, size })?;
                (digest, BlobKind::Layer { facts: facts.map(Box::new).map_err(String::into_boxed_str), place })
            }
            Content::Document { text, digest } => (digest.finalize().into(), BlobKind::Document(text.map(Into::into))),
            Content::Other(digest) => (digest.finalize().into(), BlobKind::Other),
            Content::Skipped => {
                self.skipped += 1;
                self.skipped_len += size;
                self.members.add_skipped(&name);
                return emit(Event::LayerSkipped { name: &shown, size });
            }
            Content::Sparse => {
                self.members.add_sparse(&name);
                return Ok(());
            }
            Content::None | Content::Start(_) => return Ok(()),
        };
        if let Some(expected) = promised_digest(&name).filter(|expected| *expected != digest) {
            let (expected, actual) = (format_digest(&expected), format_digest(&digest));
            return Err(Error::Digest { member: shown, expected, actual }.into());
        }
        self.members.add_file(&name, Blob { digest, size, kind });
        Ok(())
    }
}

impl Current {
    fn push<E: From<Error>>(
        &mut self,
        bytes: &[u8],
        emit: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.content {
            Content::Layer { check, .. } => {
                // The engine works on the bytes while they are checked here.
                emit(Event::LayerBytes(bytes))?;
                check.push(bytes);
            }
            Content::Document { text, digest } => {
                digest.update(bytes);
                if let Some(text) = text {
                    text.extend(bytes);
                }
            }
            Content::Other(digest) => digest.update(bytes),
            Content::Start(_) | Content::Skipped | Content::Sparse | Content::None => {}
        }
        Ok(())
    }
}

/// Returns true for the names that tools give to blobs, configs and layers.
fn is_image_member(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    let (first, rest) = name.split_once('/').unwrap_or((&name, ""));
    let stem = first.split('.').next().unwrap_or_default();
    let is_digest = |text: &str| crate::names::parse_hex(text).is_some();
    name.strip_prefix("blobs/sha256/").is_some_and(is_digest)
        || first.strip_prefix("sha256:").is_some_and(is_digest)
        || is_digest(stem) && (rest == "layer.tar" || rest.is_empty() && first != stem)
}

/// Returns true if `start`, at least one block, begins with a member that archives of
/// images begin with, or with a neutral one, such as `./`. It is a guess that
/// spares a long read; only a reader decides.
pub fn may_contain_images(start: &[u8]) -> bool {
    let Some(header) = start.first_chunk().and_then(|block| Header::parse(block).ok()) else { return false };
    let Ok(name) = normalize(&header.name) else { return false };
    let first = shown(name.split(|byte| *byte == b'/').next().unwrap_or_default());
    let stem = first.split('.').next().unwrap_or_default();
    let is_digest = crate::names::parse_hex(stem.strip_prefix("sha256:").unwrap_or(stem)).is_some();
    let is_extension = matches!(header.kind, b'L' | b'K' | b'x' | b'g');
    name.is_empty()
        || is_digest
        || is_extension
        || matches!(first.as_str(), "blobs" | "layers" | "image" | "config.json")
        || NAMED_DOCUMENTS.contains(&first.as_str())
        || stem.bytes().all(|byte| byte.is_ascii_digit())
}

/// Describes the start of something that is no tar archive.
fn looks_like(start: &[u8]) -> &'static str {
    match start {
        [0x89, b'A', b'Z', b'S', ..] => "it is still sealed; put az-decrypt before it",
        [b'{' | b'[', ..] => "it looks like JSON",
        [b'<', ..] => "it looks like HTML or XML",
        [b'P', b'K', 3, 4, ..] => "it looks like zip",
        _ if start.len() == BLOCK_LEN && is_zero(start) => "it begins with zeros",
        _ => "it is no tar archive",
    }
}
