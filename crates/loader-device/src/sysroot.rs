//! Files below a directory that is treated as the root of a system.

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use zeroize::Zeroizing;

/// The root of this system, or a directory that is treated as a root. Symbolic links are
/// resolved as after a chroot(2), so none leads out of the directory.
pub(crate) struct Sysroot {
    dir: OwnedFd,
    /// True for the root of the running system.
    is_system: bool,
}

/// Result of reading a file.
pub(crate) enum ReadOutcome {
    /// The whole content.
    Bytes(Zeroizing<Vec<u8>>),
    /// The file is longer than the limit.
    TooLong,
    /// No such file.
    Missing,
    /// The file exists and cannot be read; contains the reason.
    Unreadable(String),
}

impl Sysroot {
    /// Opens the directory `path` as a root.
    ///
    /// # Errors
    /// The error of openat(2).
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let dir = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { dir, is_system: path == Path::new("/") })
    }

    /// Reads the file at `path` if it has at most `limit` bytes.
    pub(crate) fn read(&self, path: &str, limit: usize) -> ReadOutcome {
        // NONBLOCK: opening a FIFO must not block the process.
        let opened = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY);
        let file = match opened {
            Ok(file) => file,
            Err(error) => return Self::failed_read(error),
        };
        match fstat(&file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) => return ReadOutcome::Unreadable("not a regular file".to_owned()),
            Err(error) => return Self::failed_read(error),
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit.min(4096) + 1));
        match File::from(file).take(limit as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() > limit => ReadOutcome::TooLong,
            Ok(_) => ReadOutcome::Bytes(bytes),
            Err(error) => Self::failed_read(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }

    /// Returns true if the parent directory of `path` is a dangling symbolic link: container
    /// engines mask `/sys/firmware`, which the kernel's `/proc/device-tree` points to. Returns
    /// false on a machine with DMI, on which a device tree does not identify the machine.
    pub(crate) fn is_hidden(&self, path: &str) -> bool {
        let Some((parent, _)) = path.rsplit_once('/') else { return false };
        let opened = |path, flags| self.open_at(path, OFlags::PATH | OFlags::CLOEXEC | flags);
        let link = opened(parent, OFlags::NOFOLLOW).and_then(|link| fstat(&link));
        link.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
            && matches!(opened(parent, OFlags::DIRECTORY), Err(Errno::NOENT))
            && matches!(opened("sys/class/dmi", OFlags::DIRECTORY), Err(Errno::NOENT))
    }

    /// Returns true if the file at `path` of this system is on tmpfs or ramfs, such as the
    /// machine-id that systemd creates if the root filesystem is read-only.
    pub(crate) fn is_in_memory(&self, path: &str) -> bool {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        const RAMFS_MAGIC: u64 = 0x8584_58f6;
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY);
        let magic = file.and_then(|file| fstatfs(&file)).map(|filesystem| filesystem.f_type as u64);
        self.is_system && magic.is_ok_and(|magic| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&magic))
    }

    /// Returns the sorted names in the directory at `path`, without hidden ones; an empty list
    /// if there is no such directory.
    ///
    /// # Errors
    /// The reason, if the directory exists and cannot be read.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, String> {
        let listed = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC).and_then(|dir| {
            let entries = Dir::read_from(dir)?;
            entries.map(|entry| Ok(entry?.file_name().to_str().unwrap_or_default().to_owned())).collect()
        });
        let mut names: Vec<String> = match listed {
            Ok(names) => names,
            Err(Errno::NOENT | Errno::NOTDIR) => Vec::new(),
            Err(error) => return Err(error_text(error)),
        };
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.is_system {
            return openat(&self.dir, path, flags, Mode::empty());
        }
        openat2(&self.dir, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn failed_read(error: Errno) -> ReadOutcome {
        match error {
            // ENODEV and ENXIO: the device was removed in the meantime.
            Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::NXIO => ReadOutcome::Missing,
            error => ReadOutcome::Unreadable(error_text(error)),
        }
    }
}

/// Returns the text of `error` in lower case, without its number.
pub(crate) fn error_text(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
