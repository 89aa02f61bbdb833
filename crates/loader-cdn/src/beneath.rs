//! Folders and files below one folder, without a way out.
//!
//! Each component is opened relative to the folder before it with O_NOFOLLOW,
//! and holds no slash and no `..`: neither a link planted inside nor a rename
//! in between leads elsewhere.

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Time between two attempts at a lock.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// Longest wait for a lock that is held only while a small file is written.
const SHORT_WAIT: Duration = Duration::from_secs(10);

/// How long to wait for a file that another process has locked.
pub struct LockWait<'a> {
    /// Longest wait in which the file does not grow. A holder that fetches slowly is
    /// waited for; one that was stopped is not.
    pub longest: Duration,
    /// Called once, before the wait, with the file. Returns the id of the process that
    /// holds it, if that can be found.
    pub holder: &'a dyn Fn(&File) -> Option<u32>,
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    pub(crate) fn new(folder: OwnedFd) -> Self {
        Self(folder)
    }

    /// The folder `path` below this one; `make` makes what is missing of it,
    /// for this user alone.
    pub(crate) fn below<'a>(&self, path: impl Iterator<Item = &'a str>, make: bool) -> Result<Self, Errno> {
        let mut folder = self.0.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for component in path {
            if make {
                match mkdirat(&folder, component, DIR_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = openat(&folder, component, flags, Mode::empty())?;
        }
        Ok(Self(folder))
    }

    /// The regular file `name`, to read.
    pub(crate) fn open(&self, name: &str) -> Result<File, Errno> {
        // NONBLOCK: a planted FIFO must not hold the stage up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        regular(openat(&self.0, name, flags, Mode::empty())?)
    }

    /// The regular file `name`, to write, made where it is missing; not emptied.
    pub(crate) fn open_to_write(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        regular(openat(&self.0, name, flags, FILE_MODE)?)
    }

    /// The same, locked, and still the one that others would open. Waits while another
    /// process has it.
    ///
    /// # Errors
    /// `ResourceBusy` if the wait was too long.
    pub(crate) fn lock(&self, name: &str, wait: &LockWait<'_>) -> io::Result<File> {
        let mut holder = None;
        loop {
            let file = self.open_to_write(name)?;
            let (mut len, mut since) = (None, Instant::now());
            while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
                if !matches!(error, Errno::WOULDBLOCK | Errno::INTR) {
                    return Err(error.into());
                }
                let holder = *holder.get_or_insert_with(|| (wait.holder)(&file));
                let now = fstat(&file)?.st_size;
                if len.replace(now) != Some(now) {
                    since = Instant::now();
                } else if since.elapsed() >= wait.longest {
                    return Err(too_long(holder, wait.longest));
                }
                std::thread::sleep(LOCK_RETRY.min(wait.longest));
            }
            if self.is_still(name, &file) {
                return Ok(file);
            }
        }
    }

    /// True where `name` is still the very file that is open.
    pub(crate) fn is_still(&self, name: &str, file: &File) -> bool {
        let id = |stat: Stat| (stat.st_dev, stat.st_ino);
        match (statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), fstat(file)) {
            (Ok(there), Ok(here)) => id(there) == id(here),
            _ => false,
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        renameat(&self.0, from, &self.0, to)
    }

    /// Bytes in the regular file `name`; `None` where there is none.
    pub(crate) fn len(&self, name: &str) -> Option<u64> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_file().then(|| u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Puts a file with `bytes` in place of `name`, whole or not at all.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        Ok(self.prepare(name, bytes)?.place()?)
    }

    /// A file with `bytes`, durable, that is to be `name`. Waits while another
    /// process makes one.
    pub(crate) fn prepare(&self, name: &str, bytes: &[u8]) -> io::Result<Prepared<'_>> {
        let new = format!("{name}.new");
        let file = self.lock(&new, &LockWait { longest: SHORT_WAIT, holder: &|_| None })?;
        let mut prepared = Prepared { folder: self, new, name: name.to_owned(), file, placed: false };
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

/// A file that waits for its name, and goes where it does not get it.
pub(crate) struct Prepared<'a> {
    folder: &'a Folder,
    new: String,
    name: String,
    /// Locked as long as `new` is its name.
    file: File,
    placed: bool,
}

impl Prepared<'_> {
    /// Gives the file its name, in place of what is there.
    pub(crate) fn place(mut self) -> Result<(), Errno> {
        self.folder.rename(&self.new, &self.name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // On a full disk an empty file may be left of it.
            let _ = self.folder.remove(&self.new);
        }
    }
}

fn too_long(holder: Option<u32>, longest: Duration) -> io::Error {
    let holder = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
    let seconds = longest.as_secs_f32();
    let what = format!("locked by {holder}, which has written nothing for {seconds} s");
    io::Error::new(ErrorKind::ResourceBusy, what)
}

fn regular(file: OwnedFd) -> Result<File, Errno> {
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    if kind.is_file() { Ok(File::from(file)) } else { Err(Errno::INVAL) }
}
