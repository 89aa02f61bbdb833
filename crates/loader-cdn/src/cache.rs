//! Cache directory. An entry, `{root}/{name}.big`, exists only if it is complete and verified.

use crate::dir::{Dir, WaitForLock};
use crate::expected::Hasher;
use crate::partial_entry::{PartialEntry, partial_name, small_name};
use crate::{ByteSource, CacheError, Error, ExpectedPart};
use loader_model::ResourceName;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Size of the read buffer in bytes.
const BUFFER_LEN: usize = 256 * 1024;

/// Open cache directory.
#[derive(Debug)]
pub struct Cache {
    root: Dir,
    path: PathBuf,
}

/// Result of [`Cache::lookup`].
#[derive(Debug)]
pub enum CacheLookup {
    /// A verified entry.
    Hit(CacheEntry),
    /// No usable entry. The unfinished entry is locked against other fetches of the same
    /// resource.
    Miss {
        /// Destination of the bytes.
        partial: PartialEntry,
        /// Entry that the new one will replace.
        previous: PreviousEntry,
    },
}

/// Entry that a new one will replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviousEntry {
    /// No entry.
    Absent,
    /// An entry of another release, with this size in bytes. It stays until the new one is
    /// complete.
    Stale(u64),
    /// An entry that is not a file, or whose size or digest differs from its small part. It was
    /// moved to this path until the new one is complete.
    Damaged(String),
}

/// Big part that belongs to a small part to be stored.
#[derive(Debug)]
pub enum SmallPartContext<'a> {
    /// An entry of the cache.
    Entry(&'a CacheEntry),
    /// A big part that is not in the cache.
    BigPartElsewhere,
    /// No big part: an existing entry belongs to another release and is removed.
    NoBigPart,
}

/// Verified entry, positioned at its start.
#[derive(Debug)]
pub struct CacheEntry {
    file: File,
    display_path: String,
    size: u64,
    buffer: Vec<u8>,
}

impl Cache {
    /// Opens the cache at `root`. A missing directory is created, accessible to this user alone.
    ///
    /// # Errors
    /// [`CacheError`] if the directory cannot be created or opened.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(root)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(rustix::fs::open(root, flags, Mode::empty())?)
        };
        match open() {
            Ok(dir) => Ok(Self { root: Dir::new(dir), path: root.to_owned() }),
            Err(cause) => Err(CacheError::cache(&root.display().to_string(), cause)),
        }
    }

    /// Returns the verified entry of a resource, or locks the unfinished entry for a new one.
    ///
    /// If the existing entry does not match `expected`, calls `recorded`, which returns the size
    /// and digest in the cached small part. If they equal `expected`, the entry is damaged;
    /// otherwise it belongs to another release. While another process fetches the same resource,
    /// calls `wait` before each further attempt to lock.
    ///
    /// # Errors
    /// [`CacheError`] if a file or directory cannot be opened, created or moved, or if `wait`
    /// gave up.
    pub fn lookup(
        &self,
        name: &ResourceName,
        expected: &ExpectedPart,
        recorded: &dyn Fn() -> Option<ExpectedPart>,
        wait: WaitForLock<'_>,
    ) -> Result<CacheLookup, CacheError> {
        let display_path = self.path.join(name.big_key()).display().to_string();
        self.lookup_at(name, &display_path, expected, recorded, wait)
            .map_err(|cause| CacheError::cache(&display_path, cause))
    }

    /// Returns the entry of a resource if it exists and matches `expected`. Creates nothing.
    ///
    /// # Errors
    /// [`CacheError`] if a file or directory cannot be opened.
    pub fn intact_entry(&self, name: &ResourceName, expected: &ExpectedPart) -> Result<Option<CacheEntry>, CacheError> {
        let display_path = self.path.join(name.big_key()).display().to_string();
        let found = match self.dir(name, false) {
            Ok(dir) => open_intact_entry(&dir, &entry_name(name), &display_path, expected),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        };
        found.map_err(|cause| CacheError::cache(&display_path, cause))
    }

    /// Returns the stored small part of a resource as the API sealed it, at most `cap` bytes;
    /// `None` if none is stored.
    ///
    /// # Errors
    /// [`CacheError`] if it cannot be read.
    pub fn small_part(&self, name: &ResourceName, cap: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            self.dir(name, false)?.open(&small_name(&entry_name(name)))?.take(cap).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause)),
        }
    }

    /// Stores the small part of a resource as the API sealed it, unless it would replace the
    /// small part of an entry that belongs to another release. While another process stores one,
    /// calls `wait` before each further attempt.
    ///
    /// # Errors
    /// [`CacheError`] if it cannot be written, or if `wait` gave up.
    pub fn store_small_part(
        &self,
        name: &ResourceName,
        sealed: &[u8],
        context: &SmallPartContext<'_>,
        wait: WaitForLock<'_>,
    ) -> Result<(), CacheError> {
        let store = || -> io::Result<()> {
            let (dir, entry) = (self.dir(name, true)?, entry_name(name));
            let may_store = || match context {
                SmallPartContext::Entry(checked) => dir.has_name(&entry, &checked.file),
                SmallPartContext::BigPartElsewhere => dir.len(&entry).is_none(),
                SmallPartContext::NoBigPart => true,
            };
            if !may_store() {
                return Ok(());
            }
            let small = dir.prepare(&small_name(&entry), sealed, wait)?;
            // A commit renames an entry only while it holds the prepared small part, so no entry
            // can appear now.
            if may_store() {
                small.rename_into_place()?;
            }
            match context {
                SmallPartContext::NoBigPart if dir.len(&entry).is_some() => Ok(dir.remove(&entry)?),
                _ => Ok(()),
            }
        };
        store()
            .map_err(|cause| CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause))
    }

    fn dir(&self, name: &ResourceName, create: bool) -> Result<Dir, Errno> {
        self.root.open_dir(name.folder().split('/').filter(|component| !component.is_empty()), create)
    }

    fn lookup_at(
        &self,
        name: &ResourceName,
        display_path: &str,
        expected: &ExpectedPart,
        recorded: &dyn Fn() -> Option<ExpectedPart>,
        wait: WaitForLock<'_>,
    ) -> io::Result<CacheLookup> {
        let (dir, entry) = (self.dir(name, true)?, entry_name(name));
        if let Some(entry) = open_intact_entry(&dir, &entry, display_path, expected)? {
            return Ok(CacheLookup::Hit(entry));
        }
        let file = dir.lock(&partial_name(&entry), wait)?;
        let partial = PartialEntry::new(dir, entry, display_path, file);
        // Another fetch may have finished in the meantime.
        if let Some(entry) = open_intact_entry(&partial.dir, &partial.name, display_path, expected)? {
            partial.discard();
            return Ok(CacheLookup::Hit(entry));
        }
        let previous = partial.set_aside_previous(|| recorded().as_ref() == Some(expected))?;
        let partial = partial.resume(expected)?;
        Ok(CacheLookup::Miss { partial, previous })
    }
}

/// Returns the entry if it exists and matches `expected`. An entry that is not a regular file
/// counts as damaged.
fn open_intact_entry(
    dir: &Dir,
    name: &str,
    display_path: &str,
    expected: &ExpectedPart,
) -> io::Result<Option<CacheEntry>> {
    let mut file = match dir.open(name) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = file.metadata()?.len();
    if expected.size.is_some_and(|expected| expected != size) {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    file.rewind()?;
    Ok(hasher.check(expected).is_ok().then(|| CacheEntry::new(file, display_path, size)))
}

fn entry_name(name: &ResourceName) -> String {
    format!("{}.big", name.file_name())
}

impl CacheEntry {
    pub(crate) fn new(file: File, display_path: &str, size: u64) -> Self {
        Self { file, display_path: display_path.to_owned(), size, buffer: Vec::new() }
    }

    /// Returns the size of the entry in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl ByteSource for CacheEntry {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        self.buffer.resize(BUFFER_LEN, 0);
        let read = self.file.read(&mut self.buffer).map_err(|cause| CacheError::cache(&self.display_path, cause))?;
        Ok(&self.buffer[..read])
    }
}
