//! The cache: `{root}/{folder}/{name}.big`, only ever whole and checked.

use crate::beneath::Folder;
use crate::expected::Tally;
use crate::partial::{Partial, partial_name};
use crate::{Error, Expected, Source};
use loader_model::{ErrorCode, ResourceName};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const BUFFER_LEN: usize = 256 * 1024;

/// A cache folder, open.
#[derive(Debug)]
pub struct Cache {
    root: Folder,
    path: PathBuf,
}

/// Why the cache cannot be used. A fetch can go on without it.
#[derive(Debug, thiserror::Error)]
#[error("{what} {place}: {cause}")]
pub struct CacheError {
    what: &'static str,
    place: String,
    cause: io::Error,
}

impl CacheError {
    pub(crate) fn cache(place: &str, cause: io::Error) -> Self {
        Self { what: "cache", place: place.to_owned(), cause }
    }

    /// The same for the state of an upload.
    pub(crate) fn state(place: &str, cause: io::Error) -> Self {
        Self { what: "upload state", place: place.to_owned(), cause }
    }

    /// The class of the failure.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Io
    }
}

/// What the cache has for a resource.
#[derive(Debug)]
pub enum Claim {
    /// The entry, with the right size and digest.
    Hit(Entry),
    /// Nothing yet: a place to put it, held against other fetches of the same
    /// resource. `damaged` names the file that an entry of the wrong size or
    /// digest was moved to.
    Missing {
        /// Where the bytes go.
        partial: Partial,
        /// What became of a bad entry.
        damaged: Option<String>,
    },
}

/// A checked entry, to read from its start.
#[derive(Debug)]
pub struct Entry {
    file: File,
    place: String,
    size: u64,
    buffer: Vec<u8>,
}

impl Cache {
    /// Opens the cache at `root`, which is made, for this user alone, where it
    /// does not exist.
    ///
    /// # Errors
    /// [`CacheError`]: the folder cannot be made or opened.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(root)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(rustix::fs::open(root, flags, Mode::empty())?)
        };
        match open() {
            Ok(folder) => Ok(Self { root: Folder::new(folder), path: root.to_owned() }),
            Err(cause) => Err(CacheError::cache(&root.display().to_string(), cause)),
        }
    }

    /// The entry of a resource, checked against `expected` before a byte of it
    /// is used, or the place for one. Waits while another process fetches the
    /// same resource, and calls `waiting` before it does.
    ///
    /// # Errors
    /// [`CacheError`]: a folder or file cannot be opened, made or moved.
    pub fn claim(&self, name: &ResourceName, expected: &Expected, waiting: &dyn Fn()) -> Result<Claim, CacheError> {
        let place = self.path.join(name.big_key()).display().to_string();
        self.claim_at(name, &place, expected, waiting).map_err(|cause| CacheError::cache(&place, cause))
    }

    /// The entry of a resource where it is there and as expected; makes nothing.
    ///
    /// # Errors
    /// [`CacheError`]: a folder or file cannot be opened.
    pub fn entry(&self, name: &ResourceName, expected: &Expected) -> Result<Option<Entry>, CacheError> {
        let place = self.path.join(name.big_key()).display().to_string();
        let found = match self.folder(name, false) {
            Ok(folder) => good_entry(&folder, &format!("{}.big", name.file_name()), &place, expected),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        };
        found.map_err(|cause| CacheError::cache(&place, cause))
    }

    /// The small part of a resource as the API sealed it, at most `cap` bytes;
    /// `None` where it was never kept.
    ///
    /// # Errors
    /// [`CacheError`]: it cannot be read.
    pub fn small(&self, name: &ResourceName, cap: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            self.folder(name, false)?.open(&small_name(name))?.take(cap).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause)),
        }
    }

    /// Keeps the small part of a resource as the API sealed it.
    ///
    /// # Errors
    /// [`CacheError`]: it cannot be written.
    pub fn keep_small(&self, name: &ResourceName, sealed: &[u8]) -> Result<(), CacheError> {
        let kept = self.folder(name, true).map_err(io::Error::from);
        let kept = kept.and_then(|folder| folder.replace(&small_name(name), sealed));
        kept.map_err(|cause| CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause))
    }

    fn folder(&self, name: &ResourceName, make: bool) -> Result<Folder, Errno> {
        self.root.below(name.folder().split('/').filter(|part| !part.is_empty()), make)
    }

    fn claim_at(&self, name: &ResourceName, place: &str, expected: &Expected, waiting: &dyn Fn()) -> io::Result<Claim> {
        let folder = self.folder(name, true)?;
        let entry_name = format!("{}.big", name.file_name());
        if let Some(entry) = good_entry(&folder, &entry_name, place, expected)? {
            return Ok(Claim::Hit(entry));
        }
        let file = lock(&folder, &partial_name(&entry_name), waiting)?;
        let partial = Partial::new(folder, entry_name, place, file);
        // Another fetch may have ended in the meantime.
        if let Some(entry) = good_entry(&partial.folder, &partial.name, place, expected)? {
            partial.discard();
            return Ok(Claim::Hit(entry));
        }
        let damaged = format!("{}.damaged", partial.name);
        let damaged = match partial.folder.rename(&partial.name, &damaged) {
            Ok(()) => Some(format!("{place}.damaged")),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let partial = partial.take_up(expected)?;
        Ok(Claim::Missing { partial, damaged })
    }
}

/// The entry where it is there and as expected. An entry that cannot be opened
/// as a regular file counts as a bad one.
fn good_entry(folder: &Folder, name: &str, place: &str, expected: &Expected) -> io::Result<Option<Entry>> {
    let mut file = match folder.open(name) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = file.metadata()?.len();
    if expected.size.is_some_and(|expected| expected != size) {
        return Ok(None);
    }
    let mut tally = Tally::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => tally.update(&buffer[..n]),
        }
    }
    file.rewind()?;
    Ok(tally.check(expected).is_ok().then(|| Entry { file, place: place.to_owned(), size, buffer: Vec::new() }))
}

fn small_name(name: &ResourceName) -> String {
    format!("{}.small", name.file_name())
}

/// The partial file, locked, and still the one that others would open.
fn lock(folder: &Folder, name: &str, waiting: &dyn Fn()) -> io::Result<File> {
    let mut said = false;
    loop {
        let file = folder.open_to_write(name)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                if !said {
                    waiting();
                    said = true;
                }
                flock(&file, FlockOperation::LockExclusive)?;
            }
            Err(error) => return Err(error.into()),
        }
        if folder.is_still(name, &file) {
            return Ok(file);
        }
    }
}

impl Entry {
    /// Bytes in the entry.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Source for Entry {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        self.buffer.resize(BUFFER_LEN, 0);
        let read = self.file.read(&mut self.buffer).map_err(|cause| CacheError::cache(&self.place, cause))?;
        Ok(&self.buffer[..read])
    }
}
