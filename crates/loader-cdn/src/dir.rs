//! Files and directories inside one root directory. No path leads outside.
//!
//! Each path component is opened relative to its parent directory with O_NOFOLLOW and contains
//! neither a slash nor `..`. Neither a planted symbolic link nor a concurrent rename can lead
//! outside.

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Called while another process holds the lock of the file, before each further attempt. Waits for
/// a moment, or gives up with an error.
pub type WaitForLock<'a> = &'a dyn Fn(&File) -> io::Result<()>;

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    pub(crate) fn new(dir: OwnedFd) -> Self {
        Self(dir)
    }

    /// Opens the directory `path` inside this one. If `create` is set, missing directories are
    /// created, accessible to this user alone.
    pub(crate) fn open_dir<'a>(&self, path: impl Iterator<Item = &'a str>, create: bool) -> Result<Self, Errno> {
        let mut dir = self.0.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for component in path {
            if create {
                match mkdirat(&dir, component, DIR_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = openat(&dir, component, flags, Mode::empty())?;
        }
        Ok(Self(dir))
    }

    /// Opens the regular file `name` for reading.
    pub(crate) fn open(&self, name: &str) -> Result<File, Errno> {
        // NONBLOCK: a planted FIFO must not block the process.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        require_regular_file(openat(&self.0, name, flags, Mode::empty())?)
    }

    /// Opens the regular file `name` for writing and creates it if it is missing. Does not
    /// truncate it.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        require_regular_file(openat(&self.0, name, flags, FILE_MODE)?)
    }

    /// Opens or creates the file `name`, locks it, and ensures that it still has this name. While
    /// another process holds the lock, calls `wait` before each further attempt.
    ///
    /// # Errors
    /// Errors of the kernel and of `wait`, which may give up.
    pub(crate) fn lock(&self, name: &str, wait: WaitForLock<'_>) -> io::Result<File> {
        loop {
            let file = self.open_or_create(name)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    wait(&file)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if self.has_name(name, &file) {
                return Ok(file);
            }
        }
    }

    /// Returns true if `name` still refers to the open file `file`.
    pub(crate) fn has_name(&self, name: &str, file: &File) -> bool {
        let id = |stat: Stat| (stat.st_dev, stat.st_ino);
        match (statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), fstat(file)) {
            (Ok(named), Ok(open)) => id(named) == id(open),
            _ => false,
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        renameat(&self.0, from, &self.0, to)
    }

    /// Returns the size of the regular file `name` in bytes; `None` if there is none.
    pub(crate) fn len(&self, name: &str) -> Option<u64> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_file().then(|| u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Replaces the file `name` atomically by one that contains `bytes`. Unlike the outputs of
    /// `loader-stage`, which this layer cannot use, it stays in the open directory. No other
    /// process of the same kind may replace the file at the same time.
    ///
    /// # Errors
    /// Errors of the kernel; [`io::ErrorKind::ResourceBusy`] if the temporary file is locked.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let busy = |_: &File| {
            let what = format!("{} is locked by another process", temp_name(name));
            Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
        };
        Ok(self.prepare(name, bytes, &busy)?.rename_into_place()?)
    }

    /// Writes a durable temporary file that contains `bytes` and can be renamed to `name`. While
    /// another process prepares one for the same name, calls `wait`; this takes only a moment,
    /// unless that process is stopped or is another user's.
    ///
    /// # Errors
    /// Errors of the kernel and of `wait`.
    pub(crate) fn prepare(&self, name: &str, bytes: &[u8], wait: WaitForLock<'_>) -> io::Result<PreparedFile<'_>> {
        let temp_name = temp_name(name);
        let file = self.lock(&temp_name, wait)?;
        let mut prepared = PreparedFile { dir: self, temp_name, name: name.to_owned(), file, is_renamed: false };
        prepared.file.set_len(0)?;
        prepared.file.write_all(bytes)?;
        prepared.file.sync_data()?;
        Ok(prepared)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.0, name, AtFlags::empty())
    }

    pub(crate) fn sync(&self) -> Result<(), Errno> {
        rustix::fs::fsync(self.0.as_fd())
    }
}

/// Temporary file that is removed unless [`PreparedFile::rename_into_place`] is called.
pub(crate) struct PreparedFile<'a> {
    dir: &'a Dir,
    temp_name: String,
    name: String,
    /// Locked while `temp_name` is its name.
    file: File,
    is_renamed: bool,
}

impl PreparedFile<'_> {
    /// Renames the file to its final name and replaces the existing file.
    pub(crate) fn rename_into_place(mut self) -> Result<(), Errno> {
        self.dir.rename(&self.temp_name, &self.name)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for PreparedFile<'_> {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If this fails on a full disk, an empty file stays.
            let _ = self.dir.remove(&self.temp_name);
        }
    }
}

fn temp_name(name: &str) -> String {
    format!("{name}.new")
}

fn require_regular_file(file: OwnedFd) -> Result<File, Errno> {
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    if kind.is_file() { Ok(File::from(file)) } else { Err(Errno::INVAL) }
}
