//! Listing of a directory.

use rustix::fs::{Dir, Mode, OFlags, open};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the names of the entries of `dir`, unsorted, with `.` and `..`. Unlike
/// `std::fs::read_dir`, it does not panic if closedir(3) fails.
///
/// # Errors
/// The error of open(2).
pub fn entry_names(dir: &Path) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = Dir::new(open(dir, flags, Mode::empty())?)?.flatten();
    Ok(entries.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()).collect())
}
