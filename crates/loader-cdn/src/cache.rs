//! The cache: `{root}/{folder}/{name}.big`, only ever whole and checked.

use crate::beneath::Folder;
use crate::expected::Tally;
use crate::partial::{Partial, partial_name, small_name};
use crate::{Error, Expected, Source};
use loader_model::{ErrorCode, ResourceName};
use rustix::fs::{Mode, OFlags};
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

    /// The class of the failure. What another process holds comes free.
    pub fn code(&self) -> ErrorCode {
        match self.cause.kind() {
            io::ErrorKind::ResourceBusy => ErrorCode::Temporary,
            _ => ErrorCode::Io,
        }
    }
}

/// What the cache has for a resource.
#[derive(Debug)]
pub enum Claim {
    /// The entry, with the right size and digest.
    Hit(Entry),
    /// Nothing yet: a place to put it, held against other fetches of the same
    /// resource.
    Missing {
        /// Where the bytes go.
        partial: Partial,
        /// What is in its place until then.
        old: Old,
    },
}

/// The entry that another one is to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    /// There is none.
    Absent,
    /// It is not known to be bad: another release, of this many bytes. It stays
    /// until the new one is whole.
    Stale(u64),
    /// It has another size or digest than the small part beside it promises, or
    /// is no file, and was moved to this place until the new one is whole.
    Damaged(String),
}

/// What belongs to a small part that is to be kept.
#[derive(Debug)]
pub enum Beside<'a> {
    /// This entry.
    Entry(&'a Entry),
    /// A big part that is not in the cache.
    Elsewhere,
    /// No big part: an entry is of another release, and goes.
    Nothing,
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
    /// is used, or the place for one. Asks `kept` what the small part in the cache
    /// promises, where an entry is another. While another process has
    /// locked the place to fetch the same resource, calls `wait` before each further try.
    ///
    /// # Errors
    /// [`CacheError`]: a folder or file cannot be opened, made or moved, or `wait` gave up.
    pub fn claim(
        &self,
        name: &ResourceName,
        expected: &Expected,
        kept: &dyn Fn() -> Option<Expected>,
        wait: &dyn Fn(&File) -> io::Result<()>,
    ) -> Result<Claim, CacheError> {
        let place = self.path.join(name.big_key()).display().to_string();
        self.claim_at(name, &place, expected, kept, wait).map_err(|cause| CacheError::cache(&place, cause))
    }

    /// The entry of a resource where it is there and as expected; makes nothing.
    ///
    /// # Errors
    /// [`CacheError`]: a folder or file cannot be opened.
    pub fn entry(&self, name: &ResourceName, expected: &Expected) -> Result<Option<Entry>, CacheError> {
        let place = self.path.join(name.big_key()).display().to_string();
        let found = match self.folder(name, false) {
            Ok(folder) => good_entry(&folder, &entry_name(name), &place, expected),
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
            self.folder(name, false)?.open(&small_name(&entry_name(name)))?.take(cap).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause)),
        }
    }

    /// Keeps the small part of a resource as the API sealed it, unless that takes
    /// from an entry in the cache the small part that is its own.
    ///
    /// # Errors
    /// [`CacheError`]: it cannot be written.
    pub fn keep_small(&self, name: &ResourceName, sealed: &[u8], beside: &Beside<'_>) -> Result<(), CacheError> {
        let keep = || -> io::Result<()> {
            let (folder, entry) = (self.folder(name, true)?, entry_name(name));
            let fits = || match beside {
                Beside::Entry(with) => folder.is_still(&entry, &with.file),
                Beside::Elsewhere => folder.len(&entry).is_none(),
                Beside::Nothing => true,
            };
            if !fits() {
                return Ok(());
            }
            let small = folder.prepare(&small_name(&entry), sealed)?;
            // An entry gets its name while its small part is prepared, so none comes now.
            if fits() {
                small.place()?;
            }
            match beside {
                Beside::Nothing if folder.len(&entry).is_some() => Ok(folder.remove(&entry)?),
                _ => Ok(()),
            }
        };
        keep().map_err(|cause| CacheError::cache(&self.path.join(format!("{name}.small")).display().to_string(), cause))
    }

    fn folder(&self, name: &ResourceName, make: bool) -> Result<Folder, Errno> {
        self.root.below(name.folder().split('/').filter(|part| !part.is_empty()), make)
    }

    fn claim_at(
        &self,
        name: &ResourceName,
        place: &str,
        expected: &Expected,
        kept: &dyn Fn() -> Option<Expected>,
        wait: &dyn Fn(&File) -> io::Result<()>,
    ) -> io::Result<Claim> {
        let (folder, entry) = (self.folder(name, true)?, entry_name(name));
        if let Some(entry) = good_entry(&folder, &entry, place, expected)? {
            return Ok(Claim::Hit(entry));
        }
        let file = folder.lock(&partial_name(&entry), wait)?;
        let partial = Partial::new(folder, entry, place, file);
        // Another fetch may have ended in the meantime.
        if let Some(entry) = good_entry(&partial.folder, &partial.name, place, expected)? {
            partial.discard();
            return Ok(Claim::Hit(entry));
        }
        let old = partial.old(|| kept().as_ref() == Some(expected))?;
        let partial = partial.take_up(expected)?;
        Ok(Claim::Missing { partial, old })
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
    Ok(tally.check(expected).is_ok().then(|| Entry::new(file, place, size)))
}

fn entry_name(name: &ResourceName) -> String {
    format!("{}.big", name.file_name())
}

impl Entry {
    pub(crate) fn new(file: File, place: &str, size: u64) -> Self {
        Self { file, place: place.to_owned(), size, buffer: Vec::new() }
    }

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
