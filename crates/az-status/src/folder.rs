//! The names in a folder.

use rustix::fs::{Dir, Mode, OFlags, open};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is in `folder`, in no order; `.` and `..` too. The standard library's list
/// panics where closing the folder fails.
///
/// # Errors
/// The system's, where the folder cannot be opened.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = Dir::new(open(folder, flags, Mode::empty())?)?.flatten();
    Ok(entries.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()).collect())
}
