//! The members of an archive, in memory that does not grow with their names.

use crate::layer::LayerFacts;
use crate::names::{NameKey, key, normalize};
use crate::{Error, SkipLayers};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of members that are recorded. `docker save` writes four for a layer,
/// and an image has at most 127 layers.
const MEMBERS_MAX: usize = 32_768;

/// Maximum number of links that are followed one after the other.
const LINKS_MAX: usize = 8;

/// Maximum number of bytes of all documents that are kept: far more than the configs of
/// a hundred images.
const DOCUMENTS_MAX: usize = 4 << 20;

/// The content of a file in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// SHA-256 of the bytes as stored.
    pub(crate) digest: [u8; 32],
    /// Number of bytes as stored.
    pub(crate) size: u64,
    pub(crate) kind: BlobKind,
}

/// What a file is, judged by its content.
#[derive(Clone, Debug)]
pub(crate) enum BlobKind {
    /// A layer, or why it is none; `path` is its name in the archive that is written.
    Layer { facts: Result<Box<LayerFacts>, Box<str>>, path: BlobPath },
    /// A JSON document, if it was small enough to keep.
    Document(Option<Arc<[u8]>>),
    /// Anything else.
    Other,
}

/// The name of a blob in the archive that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobPath {
    /// `blobs/sha256/<digest>`: the digest was known before the content.
    Digest([u8; 32]),
    /// `layers/<run>-<number>.tar`. A name is never used for two archives: the containerd
    /// image store resumes the transfer of a name that was broken off.
    Number { run: u64, number: u32 },
}

impl BlobPath {
    /// Formats the path.
    pub(crate) fn format(self) -> String {
        match self {
            Self::Digest(digest) => format!("blobs/sha256/{}", crate::names::hex(&digest)),
            Self::Number { run, number } => format!("layers/{run:016x}-{number}.tar"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Blob(u32),
    Link(NameKey),
    Skipped,
    Sparse,
    /// Several members of one name, with different content.
    Ambiguous,
}

/// The members by name and the blobs by digest.
#[derive(Default)]
pub(crate) struct Members {
    entries: HashMap<NameKey, Entry>,
    blobs: Vec<Blob>,
    by_digest: HashMap<[u8; 32], u32>,
    documents_len: usize,
    skip: SkipLayers,
    /// True after [`MEMBERS_MAX`] members: later ones are not recorded.
    is_full: bool,
}

/// What a document's reference to a layer leads to.
pub(crate) enum Found<'a> {
    Blob(&'a Blob),
    /// A layer that the engine has: it was skipped, or is not in the archive.
    Present,
    Nothing,
}

impl Members {
    pub(crate) fn new(skip: SkipLayers) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Returns true if a member is one of the layers to skip.
    pub(crate) fn is_skipped(&self, name: &[u8], size: u64) -> bool {
        self.skip.covers(name, size)
    }

    /// Reserves memory for a document of `size` bytes, or returns false if it is too
    /// large to keep.
    pub(crate) fn reserve_document(&mut self, size: u64) -> bool {
        let fits = usize::try_from(size).ok().filter(|size| self.documents_len + size <= DOCUMENTS_MAX);
        self.documents_len += fits.unwrap_or(0);
        fits.is_some()
    }

    /// Records a file.
    pub(crate) fn add_file(&mut self, name: &[u8], blob: Blob) {
        let index = match self.by_digest.get(&blob.digest) {
            Some(index) => *index,
            None if self.blobs.len() >= MEMBERS_MAX => {
                self.is_full = true;
                return;
            }
            None => {
                let index = self.blobs.len() as u32;
                self.by_digest.insert(blob.digest, index);
                self.blobs.push(blob);
                index
            }
        };
        self.add(name, Entry::Blob(index));
    }

    /// Records a link; the target is normalized and starts at the root.
    pub(crate) fn add_link(&mut self, name: &[u8], target: &[u8]) {
        self.add(name, Entry::Link(key(target)));
    }

    /// Records a skipped layer.
    pub(crate) fn add_skipped(&mut self, name: &[u8]) {
        self.add(name, Entry::Skipped);
    }

    /// Records a sparse file, whose content is not read.
    pub(crate) fn add_sparse(&mut self, name: &[u8]) {
        self.add(name, Entry::Sparse);
    }

    fn add(&mut self, name: &[u8], entry: Entry) {
        if self.entries.len() >= MEMBERS_MAX {
            self.is_full = true;
            return;
        }
        let known = self.entries.entry(key(name)).or_insert(entry);
        if *known != entry {
            *known = Entry::Ambiguous;
        }
    }

    /// Returns the error for a member or blob that is not recorded, if there may be one.
    fn check_complete(&self) -> Result<(), Error> {
        match self.is_full {
            true => Err(Error::Unsupported(format!("an archive of more than {MEMBERS_MAX} members"))),
            false => Ok(()),
        }
    }

    /// Returns the blob with this digest.
    pub(crate) fn by_digest(&self, digest: &[u8; 32]) -> Option<&Blob> {
        self.by_digest.get(digest).and_then(|index| self.blobs.get(*index as usize))
    }

    /// Returns the file that a document names.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a name with `..`, a sparse file, and if there are too many
    /// members; [`Error::Malformed`] for a name of several files.
    pub(crate) fn by_name(&self, name: &str) -> Result<Option<&Blob>, Error> {
        match self.resolve(name)? {
            Some(Entry::Blob(index)) => Ok(self.blobs.get(index as usize)),
            Some(Entry::Sparse) => Err(Error::Unsupported(format!("{name}: a sparse file"))),
            Some(Entry::Ambiguous) => Err(Error::malformed(name, "is there twice, with other content")),
            Some(Entry::Link(_) | Entry::Skipped) => Ok(None),
            None => self.check_complete().map(|()| None),
        }
    }

    /// Returns true if a member with this name is a link.
    pub(crate) fn is_link(&self, name: &str) -> bool {
        matches!(self.entries.get(&key(name.as_bytes())), Some(Entry::Link(_)))
    }

    fn resolve(&self, name: &str) -> Result<Option<Entry>, Error> {
        let mut name = key(&normalize(name.as_bytes())?);
        for _ in 0..=LINKS_MAX {
            match self.entries.get(&name) {
                Some(Entry::Link(target)) => name = *target,
                entry => return Ok(entry.copied()),
            }
        }
        Ok(None)
    }

    /// Returns the layer that a document calls `name` and that should have `diff_id`.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it was skipped, but the engine does not have it; those of
    /// [`Members::by_name`].
    pub(crate) fn layer_by_name(&self, name: &str, diff_id: &[u8; 32]) -> Result<Found<'_>, Error> {
        if let Some(blob) = self.by_name(name)? {
            return Ok(Found::Blob(blob));
        }
        match self.resolve(name)? {
            _ if self.skip.contains(diff_id) => Ok(Found::Present),
            Some(Entry::Skipped) => Err(Error::Unexpected(format!(
                "{name}: was skipped as a layer that the engine has, but it is another layer"
            ))),
            _ => Ok(Found::Nothing),
        }
    }

    /// Returns the layer with this digest.
    pub(crate) fn layer_by_digest(&self, digest: &[u8; 32]) -> Found<'_> {
        match self.by_digest(digest) {
            Some(blob) => Found::Blob(blob),
            None if self.skip.contains(digest) => Found::Present,
            None => Found::Nothing,
        }
    }

    /// Returns the text of a document.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the blob is no JSON document, [`Error::Unsupported`] if it
    /// was too large to keep.
    pub(crate) fn document<'a>(&self, name: &str, blob: &'a Blob) -> Result<&'a Arc<[u8]>, Error> {
        match &blob.kind {
            BlobKind::Document(Some(text)) => Ok(text),
            BlobKind::Document(None) => Err(Error::Unsupported(format!(
                "{name}: more than {} MiB of configs and manifests",
                DOCUMENTS_MAX >> 20
            ))),
            BlobKind::Layer { .. } | BlobKind::Other => Err(Error::malformed(name, "no JSON document")),
        }
    }
}
