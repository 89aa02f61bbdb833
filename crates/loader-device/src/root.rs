//! Files below one folder that stands for the root of a system.

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use zeroize::Zeroizing;

/// The root of a system, or a folder that stands for it. Links are followed as
/// in a system with this root, so none leads out of the folder.
pub(crate) struct Root {
    dir: OwnedFd,
    is_system: bool,
}

/// What became of a read.
pub(crate) enum Found {
    /// All bytes, where there are not more than asked for.
    Bytes(Zeroizing<Vec<u8>>),
    /// More than asked for.
    TooLong,
    /// No such file.
    Missing,
    /// It is there, and the system's reason.
    Unreadable(String),
}

impl Root {
    /// The folder `path` as a root.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let dir = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { dir, is_system: path == Path::new("/") })
    }

    /// The file at `path`, at most `limit` bytes of it.
    pub(crate) fn read(&self, path: &str, limit: usize) -> Found {
        // NONBLOCK: a FIFO in a folder that stands for a system must not hold the process up.
        let opened = self.at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY);
        let file = match opened {
            Ok(file) => file,
            Err(error) => return Self::refused(error),
        };
        match fstat(&file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) => return Found::Unreadable("not a regular file".to_owned()),
            Err(error) => return Self::refused(error),
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit.min(4096) + 1));
        match File::from(file).take(limit as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() > limit => Found::TooLong,
            Ok(_) => Found::Bytes(bytes),
            Err(error) => Self::refused(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }

    /// True where the folder of `path` is a link to a place that is not there: container
    /// engines mask /sys/firmware, to which the kernel's /proc/device-tree leads. Not
    /// where there is DMI, beside which a device tree says nothing of the machine.
    pub(crate) fn hides(&self, path: &str) -> bool {
        let Some((folder, _)) = path.rsplit_once('/') else { return false };
        let opened = |path, flags| self.at(path, OFlags::PATH | OFlags::CLOEXEC | flags);
        let itself = opened(folder, OFlags::NOFOLLOW).and_then(|folder| fstat(&folder));
        itself.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
            && matches!(opened(folder, OFlags::DIRECTORY), Err(Errno::NOENT))
            && matches!(opened("sys/class/dmi", OFlags::DIRECTORY), Err(Errno::NOENT))
    }

    /// True where the file at `path` of this system lies in memory, as a machine-id does
    /// that systemd makes for a root that cannot be written.
    pub(crate) fn forgets(&self, path: &str) -> bool {
        const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
        let file = self.at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY);
        let kind = file.and_then(|file| fstatfs(&file)).map(|system| system.f_type as u64);
        self.is_system && kind.is_ok_and(|kind| IN_MEMORY.contains(&kind))
    }

    /// The sorted names in the folder at `path`; none where it is missing.
    ///
    /// # Errors
    /// The system's reason, where it is there and cannot be read.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, String> {
        let listed = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC).and_then(|dir| {
            let entries = Dir::read_from(dir)?;
            entries.map(|entry| Ok(entry?.file_name().to_str().unwrap_or_default().to_owned())).collect()
        });
        let mut names: Vec<String> = match listed {
            Ok(names) => names,
            Err(Errno::NOENT | Errno::NOTDIR) => Vec::new(),
            Err(error) => return Err(reason(error)),
        };
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.is_system {
            return openat(&self.dir, path, flags, Mode::empty());
        }
        openat2(&self.dir, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn refused(error: Errno) -> Found {
        match error {
            // A device that went away in between answers with ENODEV or ENXIO.
            Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::NXIO => Found::Missing,
            error => Found::Unreadable(reason(error)),
        }
    }
}

/// The system's text without its number.
pub(crate) fn reason(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
