//! An entry of the cache in the making, which outlives the process.

use crate::beneath::Folder;
use crate::{CacheError, Entry, Error, Expected, Old, Source, Start};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Names the time since the machine was started.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Bytes between two syncs: what a power cut costs at most.
const SYNC_LEN: u64 = 8 << 20;

/// Bytes read at a time.
const BUFFER_LEN: usize = 256 * 1024;

/// An entry in the making, locked. Dropped without [`Partial::commit`], it stays
/// for the next run.
///
/// What an earlier run left is not to be trusted: the disk, the network or another user
/// of the cache may have damaged it, and the digest shows that only at the end. None of
/// it may leave the process before the whole was checked.
#[derive(Debug)]
pub struct Partial {
    pub(crate) folder: Folder,
    pub(crate) name: String,
    place: String,
    file: File,
    /// What the file will be; `etag` is empty if the store sends no strong one.
    state: State,
    /// Bytes of the file that will pass again before new ones come.
    replayed: u64,
    written: u64,
    /// True where a later run finds the state of these bytes.
    recorded: bool,
    ended: bool,
}

/// What stands beside the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    size: u64,
    sha256: String,
    etag: String,
    /// Bytes of the file that are on the disk.
    synced: u64,
    /// The boot in which they were written: until its end the system keeps every
    /// byte that it took, also those of a process that was killed.
    #[serde(default)]
    boot: String,
}

impl Partial {
    pub(crate) fn new(folder: Folder, name: String, place: &str, file: File) -> Self {
        let (place, state) = (place.to_owned(), State::default());
        Self { folder, name, place, file, state, replayed: 0, written: 0, recorded: false, ended: false }
    }

    /// The same with what an earlier run left for `expected`, if anything.
    pub(crate) fn take_up(mut self, expected: &Expected) -> io::Result<Self> {
        let wanted = State {
            size: expected.size.unwrap_or_default(),
            sha256: expected.sha256.clone().unwrap_or_default(),
            ..State::default()
        };
        let left = read_state(&self.folder, &state_name(&self.name));
        let fits = |left: &State| left.size == wanted.size && left.sha256 == wanted.sha256;
        let there = self.file.metadata()?.len();
        let left = left.filter(|left| fits(left) && left.synced <= there.min(left.size));
        self.recorded = left.is_some();
        self.state = left.map_or(wanted, |left| {
            let kept = if !left.boot.is_empty() && left.boot == boot_id() { there.min(left.size) } else { left.synced };
            State { synced: kept, ..left }
        });
        self.state.boot = boot_id();
        self.replayed = self.state.synced;
        self.written = self.state.synced;
        self.file.set_len(self.written)?;
        self.file.seek(SeekFrom::Start(self.written))?;
        Ok(self)
    }

    /// The entry in whose place this one will be; moved aside where it is known to
    /// be `bad`, or is no file.
    pub(crate) fn old(&self, bad: impl FnOnce() -> bool) -> io::Result<Old> {
        match self.folder.len(&self.name) {
            Some(size) if !bad() => return Ok(Old::Stale(size)),
            _ => {}
        }
        match self.folder.rename(&self.name, &damaged_name(&self.name)) {
            Ok(()) => Ok(Old::Damaged(damaged_name(&self.place))),
            Err(Errno::NOENT) => Ok(Old::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the object is to be read from: behind what is here already.
    pub fn start(&self) -> Start {
        let offset = self.state.synced;
        let etag = Some(&self.state.etag).filter(|etag| offset > 0 && !etag.is_empty());
        Start { offset, etag: etag.cloned() }
    }

    /// The bytes that are here already, to be checked before the rest.
    ///
    /// # Errors
    /// [`CacheError`]: the file cannot be opened twice.
    pub fn kept(&self) -> Result<Kept, CacheError> {
        let file = self.file.try_clone().map_err(|cause| CacheError::cache(&self.place, cause))?;
        Ok(Kept { file, place: self.place.clone(), position: 0, end: self.state.synced, buffer: Vec::new() })
    }

    /// Forgets what is here: it is of another version.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn restart(&mut self) -> Result<(), CacheError> {
        self.state = State { etag: String::new(), synced: 0, ..self.state.clone() };
        (self.replayed, self.written, self.recorded) = (0, 0, false);
        let _ = self.folder.remove(&state_name(&self.name));
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| CacheError::cache(&self.place, cause))
    }

    /// Sets the strong ETag of the version whose bytes come; without one, only the
    /// digest tells versions apart.
    pub fn pin(&mut self, etag: Option<&str>) {
        self.state.etag = etag.unwrap_or_default().to_owned();
        // If it cannot be written now, it is tried again after the next bytes.
        let _ = self.file.sync_data().and_then(|()| self.record());
    }

    /// Checks that the file system has room for the rest, and for `other` bytes more,
    /// with what [`Partial::make_room`] may remove.
    ///
    /// # Errors
    /// [`CacheError`] with the bytes that are there and those that are needed.
    pub fn check_room(&self, other: u64) -> Result<(), CacheError> {
        let (needed, old) = (self.missing().saturating_add(other), self.old_len());
        match self.free() {
            Some(free) if free.saturating_add(old) < needed => {
                let cause = io::Error::other(format!("{needed} bytes are needed and {free} are free"));
                Err(CacheError::cache(&self.place, cause))
            }
            _ => Ok(()),
        }
    }

    /// Removes the entry in whose place this one will be where the file system has
    /// no room for the rest, and for `other` bytes more, beside that. Gives the
    /// bytes that were removed.
    pub fn make_room(&self, other: u64) -> Option<u64> {
        let (needed, old) = (self.missing().saturating_add(other), self.old_len());
        if old == 0 || self.free()? >= needed {
            return None;
        }
        let _ = self.folder.remove(&damaged_name(&self.name));
        let _ = self.folder.remove(&self.name);
        Some(old)
    }

    /// Bytes of the entry in whose place this one will be, there and aside.
    fn old_len(&self) -> u64 {
        [&damaged_name(&self.name), &self.name].into_iter().filter_map(|name| self.folder.len(name)).sum()
    }

    /// Bytes that are not here yet.
    fn missing(&self) -> u64 {
        self.state.size.saturating_sub(self.written)
    }

    /// True where the entry lies on the file system `device`.
    pub fn is_on(&self, device: u64) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.dev() == device)
    }

    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.file).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Adds bytes, and makes them durable now and then.
    ///
    /// # Errors
    /// [`CacheError`]: the disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        let again = self.replayed.min(bytes.len() as u64);
        self.replayed -= again;
        let new = &bytes[again as usize..];
        let written = self.file.write_all(new).and_then(|()| {
            self.written += new.len() as u64;
            if self.written - self.state.synced >= SYNC_LEN { self.sync() } else { Ok(()) }
        });
        written.map_err(|cause| CacheError::cache(&self.place, cause))
    }

    /// Makes what was written durable, then says so beside it.
    fn sync(&mut self) -> io::Result<()> {
        if self.written == self.state.synced {
            return Ok(());
        }
        self.file.sync_data()?;
        let before = std::mem::replace(&mut self.state.synced, self.written);
        let recorded = self.record();
        if recorded.is_err() {
            self.state.synced = before;
        }
        recorded
    }

    fn record(&mut self) -> io::Result<()> {
        let state = serde_json::to_vec(&self.state).unwrap_or_default();
        self.folder.replace(&state_name(&self.name), &state)?;
        self.recorded = true;
        Ok(())
    }

    /// Makes the bytes the entry, durably, and `small` what is kept beside it: the
    /// small part as the API sealed it. To be called only when size and digest were
    /// found right. Returns the entry, to read from its start.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn commit(mut self, small: &[u8]) -> Result<Entry, CacheError> {
        let publish = || -> io::Result<Entry> {
            self.file.sync_all()?;
            // All that takes long or room comes before the first name.
            let small = self.folder.prepare(&small_name(&self.name), small)?;
            self.folder.rename(&partial_name(&self.name), &self.name)?;
            small.place()?;
            let _ = self.folder.remove(&state_name(&self.name));
            let _ = self.folder.remove(&damaged_name(&self.name));
            self.folder.sync()?;
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            // A process that waits for the lock may have it while the entry is read.
            let _ = flock(&file, FlockOperation::Unlock);
            Ok(Entry::new(file, &self.place, self.written))
        };
        let published = publish().map_err(|cause| CacheError::cache(&self.place, cause));
        self.ended = published.is_ok();
        published
    }

    /// Leaves nothing behind: the bytes are not those that were promised.
    pub fn discard(mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        // Under the lock, so they are our own.
        let _ = self.folder.remove(&state_name(&self.name));
        let _ = self.folder.remove(&partial_name(&self.name));
        self.ended = true;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // A disk that is full has no room for the last bytes, but keeps those
        // that were synced before.
        let _ = self.sync();
        if self.written == 0 || !self.recorded {
            self.remove();
        }
    }
}

/// What an earlier run left of an entry.
#[derive(Debug)]
pub struct Kept {
    file: File,
    place: String,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl Source for Kept {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        let want = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(BUFFER_LEN);
        self.buffer.resize(want, 0);
        let read = self.file.read_exact_at(&mut self.buffer, self.position);
        read.map_err(|cause| CacheError::cache(&self.place, cause))?;
        self.position += want as u64;
        Ok(&self.buffer)
    }
}

/// The boot, or nothing where the system does not tell.
fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).map_or(String::new(), |id| id.trim().to_owned())
}

pub(crate) fn partial_name(entry: &str) -> String {
    format!("{entry}.partial")
}

/// What the small part of an entry is called.
pub(crate) fn small_name(entry: &str) -> String {
    format!("{}.small", entry.strip_suffix(".big").unwrap_or(entry))
}

fn damaged_name(entry: &str) -> String {
    format!("{entry}.damaged")
}

fn state_name(entry: &str) -> String {
    format!("{entry}.state")
}

fn read_state(folder: &Folder, name: &str) -> Option<State> {
    let mut text = Vec::new();
    folder.open(name).ok()?.take(64 * 1024).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
