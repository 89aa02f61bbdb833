//! Opening files in directories where another user may have created something else: a FIFO,
//! for example, whose opening would wait forever for its other end.

use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Opens the regular file at `path` for reading.
///
/// # Errors
/// The error of open(2); [`ErrorKind::InvalidInput`] if it is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::RDONLY)
}

/// Opens the regular file at `path` for appending. A missing file is created with mode 0600. A
/// symbolic link is not followed.
///
/// # Errors
/// The errors of [`open_regular`].
pub fn append_regular(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    // For a regular file, NONBLOCK has no effect.
    let opened = open(path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    let not_regular = || io::Error::new(ErrorKind::InvalidInput, "is not a regular file");
    let file = match opened {
        // A FIFO without a reader, or a socket.
        Err(rustix::io::Errno::NXIO) => return Err(not_regular()),
        opened => File::from(opened?),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn opening_something_other_than_a_regular_file_fails_immediately() {
        let dir = ::tempfile::tempdir().unwrap();
        let (fifo, link) = (dir.path().join("fifo"), dir.path().join("link"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        for path in [&fifo, dir.path(), Path::new("/dev/null")] {
            assert_eq!(open_regular(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
            assert!(append_regular(path).is_err(), "{path:?}");
        }
        assert!(append_regular(&link).is_err());
        drop(append_regular(&dir.path().join("new")).unwrap());
        drop(open_regular(&dir.path().join("new")).unwrap());
    }
}
