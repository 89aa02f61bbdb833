//! Unfinished cache entry, which a later process can resume.

use crate::dir::{Dir, WaitForLock};
use crate::{ByteSource, CacheEntry, CacheError, Error, ExpectedPart, PreviousEntry, ResumePoint};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Identifies the current boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Bytes between two syncs; the maximum loss in a power failure.
const SYNC_LEN: u64 = 8 << 20;

/// Size of the read buffer in bytes.
const BUFFER_LEN: usize = 256 * 1024;

/// Unfinished cache entry, locked. If it is dropped without [`PartialEntry::commit`], it stays
/// for the next run.
///
/// Bytes of an earlier run are not trusted: the disk, the network or another user of the cache
/// may have damaged them, and only the digest of the whole part detects that. No byte may leave
/// the process before the whole part was verified.
#[derive(Debug)]
pub struct PartialEntry {
    pub(crate) dir: Dir,
    pub(crate) name: String,
    display_path: String,
    file: File,
    /// Expected contents of the file; `etag` is empty if the store sends no strong one.
    state: PartialState,
    /// Number of resumed bytes that the caller will still pass to [`PartialEntry::write`].
    replay_remaining: u64,
    written: u64,
    /// True if the state file on the disk describes these bytes, so that a later run can resume.
    is_recorded: bool,
    is_finished: bool,
}

/// State file of an unfinished entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PartialState {
    size: u64,
    sha256: String,
    etag: String,
    /// Number of bytes that are durable.
    synced: u64,
    /// Boot id of the last write. Until a reboot the kernel keeps every written byte, also those
    /// of a killed process.
    #[serde(default)]
    boot: String,
}

impl PartialEntry {
    pub(crate) fn new(dir: Dir, name: String, display_path: &str, file: File) -> Self {
        let (display_path, state) = (display_path.to_owned(), PartialState::default());
        Self {
            dir,
            name,
            display_path,
            file,
            state,
            replay_remaining: 0,
            written: 0,
            is_recorded: false,
            is_finished: false,
        }
    }

    /// Continues with the bytes that an earlier run left for `expected`, if there are any.
    pub(crate) fn resume(mut self, expected: &ExpectedPart) -> io::Result<Self> {
        let wanted = PartialState {
            size: expected.size.unwrap_or_default(),
            sha256: expected.sha256.clone().unwrap_or_default(),
            ..PartialState::default()
        };
        let earlier = read_state(&self.dir, &state_name(&self.name));
        let matches = |earlier: &PartialState| earlier.size == wanted.size && earlier.sha256 == wanted.sha256;
        let file_len = self.file.metadata()?.len();
        let earlier = earlier.filter(|earlier| matches(earlier) && earlier.synced <= file_len.min(earlier.size));
        self.is_recorded = earlier.is_some();
        self.state = earlier.map_or(wanted, |earlier| {
            let same_boot = !earlier.boot.is_empty() && earlier.boot == boot_id();
            PartialState { synced: if same_boot { file_len.min(earlier.size) } else { earlier.synced }, ..earlier }
        });
        self.state.boot = boot_id();
        self.replay_remaining = self.state.synced;
        self.written = self.state.synced;
        self.file.set_len(self.written)?;
        self.file.seek(SeekFrom::Start(self.written))?;
        Ok(self)
    }

    /// Returns the entry that this one will replace. It is moved aside if `is_damaged` returns
    /// true or if it is not a regular file.
    pub(crate) fn set_aside_previous(&self, is_damaged: impl FnOnce() -> bool) -> io::Result<PreviousEntry> {
        match self.dir.len(&self.name) {
            Some(size) if !is_damaged() => return Ok(PreviousEntry::Stale(size)),
            _ => {}
        }
        match self.dir.rename(&self.name, &damaged_name(&self.name)) {
            Ok(()) => Ok(PreviousEntry::Damaged(damaged_name(&self.display_path))),
            Err(Errno::NOENT) => Ok(PreviousEntry::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the point at which the object has to be read: after the resumed bytes.
    pub fn resume_point(&self) -> ResumePoint {
        let offset = self.state.synced;
        let etag = Some(&self.state.etag).filter(|etag| offset > 0 && !etag.is_empty());
        ResumePoint { offset, etag: etag.cloned() }
    }

    /// Returns the bytes of the earlier run, to be verified together with the rest.
    ///
    /// # Errors
    /// [`CacheError`] if the file cannot be opened twice.
    pub fn resumed_bytes(&self) -> Result<ResumedBytes, CacheError> {
        let file = self.file.try_clone().map_err(|cause| CacheError::cache(&self.display_path, cause))?;
        Ok(ResumedBytes {
            file,
            display_path: self.display_path.clone(),
            position: 0,
            end: self.state.synced,
            buffer: Vec::new(),
        })
    }

    /// Drops the resumed bytes, because they are damaged or of another version.
    ///
    /// # Errors
    /// [`CacheError`] if the file cannot be truncated.
    pub fn restart(&mut self) -> Result<(), CacheError> {
        self.state = PartialState { etag: String::new(), synced: 0, ..self.state.clone() };
        (self.replay_remaining, self.written, self.is_recorded) = (0, 0, false);
        let _ = self.dir.remove(&state_name(&self.name));
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| CacheError::cache(&self.display_path, cause))
    }

    /// Sets the strong ETag of the version that is being read. Without an ETag, only the digest
    /// distinguishes versions.
    pub fn set_etag(&mut self, etag: Option<&str>) {
        self.state.etag = etag.unwrap_or_default().to_owned();
        // If this fails, it is repeated after the next bytes.
        let _ = self.file.sync_data().and_then(|()| self.record());
    }

    /// Checks that the filesystem has room for the missing bytes and `other` more bytes, counting
    /// the entry that [`PartialEntry::make_room`] may remove.
    ///
    /// # Errors
    /// [`CacheError`] with the needed and the free bytes.
    pub fn check_room(&self, other: u64) -> Result<(), CacheError> {
        let (needed, previous) = (self.missing_len().saturating_add(other), self.previous_len());
        match self.free_len() {
            Some(free) if free.saturating_add(previous) < needed => {
                let cause = io::Error::other(format!("{needed} bytes are needed and {free} are free"));
                Err(CacheError::cache(&self.display_path, cause))
            }
            _ => Ok(()),
        }
    }

    /// Removes the previous entry if the filesystem has no room for the missing bytes and `other`
    /// more bytes while that entry exists. Returns the number of removed bytes.
    pub fn make_room(&self, other: u64) -> Option<u64> {
        let (needed, previous) = (self.missing_len().saturating_add(other), self.previous_len());
        if previous == 0 || self.free_len()? >= needed {
            return None;
        }
        let _ = self.dir.remove(&damaged_name(&self.name));
        let _ = self.dir.remove(&self.name);
        Some(previous)
    }

    /// Returns the size of the previous entry, including one that was moved aside.
    fn previous_len(&self) -> u64 {
        [&damaged_name(&self.name), &self.name].into_iter().filter_map(|name| self.dir.len(name)).sum()
    }

    /// Returns the number of missing bytes.
    fn missing_len(&self) -> u64 {
        self.state.size.saturating_sub(self.written)
    }

    /// Returns true if the entry is on the filesystem with the device number `device`.
    pub fn is_on_device(&self, device: u64) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.dev() == device)
    }

    fn free_len(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.file).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Appends bytes and syncs them at intervals.
    ///
    /// # Errors
    /// [`CacheError`] if the disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        let again = self.replay_remaining.min(bytes.len() as u64);
        self.replay_remaining -= again;
        let new = &bytes[again as usize..];
        let written = self.file.write_all(new).and_then(|()| {
            self.written += new.len() as u64;
            if self.written - self.state.synced >= SYNC_LEN { self.sync() } else { Ok(()) }
        });
        written.map_err(|cause| CacheError::cache(&self.display_path, cause))
    }

    /// Syncs the written bytes, then records their number in the state file.
    fn sync(&mut self) -> io::Result<()> {
        if self.written == self.state.synced {
            return Ok(());
        }
        self.file.sync_data()?;
        let before = std::mem::replace(&mut self.state.synced, self.written);
        let outcome = self.record();
        if outcome.is_err() {
            self.state.synced = before;
        }
        outcome
    }

    fn record(&mut self) -> io::Result<()> {
        let state = serde_json::to_vec(&self.state).unwrap_or_default();
        self.dir.replace(&state_name(&self.name), &state)?;
        self.is_recorded = true;
        Ok(())
    }

    /// Publishes the file as the cache entry, durably, together with `small`, the small part as
    /// the API sealed it. Call it only after size and digest were verified. Returns the entry,
    /// positioned at its start. While another process stores a small part, calls `wait` before
    /// each further attempt.
    ///
    /// # Errors
    /// [`CacheError`] if a file cannot be synced, written or renamed, or if `wait` gave up.
    pub fn commit(mut self, small: &[u8], wait: WaitForLock<'_>) -> Result<CacheEntry, CacheError> {
        let publish = || -> io::Result<CacheEntry> {
            self.file.sync_all()?;
            // All steps that may fail for lack of space come before the first rename.
            let small = self.dir.prepare(&small_name(&self.name), small, wait)?;
            self.dir.rename(&partial_name(&self.name), &self.name)?;
            small.rename_into_place()?;
            let _ = self.dir.remove(&state_name(&self.name));
            let _ = self.dir.remove(&damaged_name(&self.name));
            self.dir.sync()?;
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            // Other processes need not wait for the lock while this one reads the entry.
            let _ = flock(&file, FlockOperation::Unlock);
            Ok(CacheEntry::new(file, &self.display_path, self.written))
        };
        let published = publish().map_err(|cause| CacheError::cache(&self.display_path, cause));
        self.is_finished = published.is_ok();
        published
    }

    /// Removes the file and its state, because the bytes do not match their receipt.
    pub fn discard(mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        // The lock is held, so the files belong to this process.
        let _ = self.dir.remove(&state_name(&self.name));
        let _ = self.dir.remove(&partial_name(&self.name));
        self.is_finished = true;
    }
}

impl Drop for PartialEntry {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // A full disk has no room for the last bytes, but keeps those of the last sync.
        let _ = self.sync();
        if self.written == 0 || !self.is_recorded {
            self.remove();
        }
    }
}

/// Bytes of an entry that an earlier run wrote.
#[derive(Debug)]
pub struct ResumedBytes {
    file: File,
    display_path: String,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl ByteSource for ResumedBytes {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        let want = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(BUFFER_LEN);
        self.buffer.resize(want, 0);
        let read = self.file.read_exact_at(&mut self.buffer, self.position);
        read.map_err(|cause| CacheError::cache(&self.display_path, cause))?;
        self.position += want as u64;
        Ok(&self.buffer)
    }
}

/// Returns the boot id; empty if the kernel does not provide one.
fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).map_or(String::new(), |id| id.trim().to_owned())
}

pub(crate) fn partial_name(entry: &str) -> String {
    format!("{entry}.partial")
}

/// Returns the file name of the small part of an entry.
pub(crate) fn small_name(entry: &str) -> String {
    format!("{}.small", entry.strip_suffix(".big").unwrap_or(entry))
}

fn damaged_name(entry: &str) -> String {
    format!("{entry}.damaged")
}

fn state_name(entry: &str) -> String {
    format!("{entry}.state")
}

fn read_state(dir: &Dir, name: &str) -> Option<PartialState> {
    let mut text = Vec::new();
    dir.open(name).ok()?.take(64 * 1024).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
