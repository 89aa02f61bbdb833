//! Checks whether users other than root and the current user can open or replace a file.

use rustix::fs::makedev;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Mode bits that let the group or others open a file.
pub(crate) const OPEN_TO_OTHERS: u32 = 0o077;
/// Mode bits that let the group or others read a file.
pub(crate) const READABLE_BY_OTHERS: u32 = 0o044;
/// Mode bits that let the group or others change a file.
pub(crate) const WRITABLE_BY_OTHERS: u32 = 0o022;
const SEARCHABLE_BY_OTHERS: u32 = 0o011;
const STICKY: u32 = 0o1000;

/// Returns true if the file belongs to root or to the user of this process.
pub(crate) fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.uid() == geteuid().as_raw()
}

/// Returns true if a user other than root and the current one can change the file, by its owner
/// and mode.
///
/// # Errors
/// The error of fstat(2).
pub fn is_changeable(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(!is_own(&metadata) || metadata.mode() & WRITABLE_BY_OTHERS != 0)
}

/// Returns the path of an open file, or `None` for a pipe, for a file that was removed, and
/// if `/proc` is not mounted.
pub(crate) fn path_of(file: &File) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    (id(path.symlink_metadata().ok()?) == id(file.metadata().ok()?)).then_some(path)
}

/// Returns true if another user can open `file`, or may have opened it since it was created:
/// its mode allows it, and no parent directory prevents it. A parent directory does not protect
/// a file that has other names.
pub(crate) fn may_be_open_elsewhere(file: &File, metadata: &Metadata) -> bool {
    let path = path_of(file);
    // An anonymous pipe belongs to the user that created it, which may differ after sudo.
    let is_foreign = !is_own(metadata) && (metadata.is_file() || path.is_some());
    let is_open = metadata.mode() & OPEN_TO_OTHERS != 0;
    is_foreign
        || is_open
            && !path
                .filter(|_| metadata.nlink() == 1)
                .is_some_and(|path| path.ancestors().skip(1).any(|dir| dir.metadata().is_ok_and(|dir| is_closed(&dir))))
}

/// Returns true for a device from which other users can read what was written to it, such as a
/// disk or the log of the kernel. The null device and its siblings return nothing.
pub(crate) fn is_readable_device(file: &File, metadata: &Metadata) -> bool {
    let returns_nothing = [3, 5, 7].map(|minor| makedev(1, minor)).contains(&metadata.rdev());
    is_device(metadata)
        && metadata.mode() & READABLE_BY_OTHERS != 0
        && !(metadata.file_type().is_char_device() && returns_nothing)
        && !file.is_terminal()
}

pub(crate) fn is_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
}

fn is_closed(dir: &Metadata) -> bool {
    is_own(dir) && dir.mode() & SEARCHABLE_BY_OTHERS == 0
}

/// Returns the first parent directory of the absolute `path` in which another user can
/// replace the file or a directory that leads to it, unless a directory above that one denies
/// access to other users. The sticky bit of a directory protects its subdirectories, but not
/// the file itself, since others could create the file first (compare `StrictModes` of sshd).
pub(crate) fn replaceable_in(path: &Path) -> Option<PathBuf> {
    let mut found = None;
    for (level, dir) in path.ancestors().skip(1).enumerate() {
        let Ok(metadata) = dir.metadata() else { continue };
        if is_closed(&metadata) {
            found = None;
        } else if found.is_none() && is_replaceable(&metadata, level > 0) {
            found = Some(dir.to_owned());
        }
    }
    found
}

/// Returns the first symbolic link in `path` that belongs to another user, who could choose its
/// target.
pub(crate) fn foreign_link_in(path: &Path) -> Option<&Path> {
    let is_foreign =
        |path: &&Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink() && !is_own(&metadata));
    path.ancestors().find(is_foreign)
}

/// Returns true if another user can replace an entry of the directory `dir`. If
/// `sticky_protects`, the sticky bit protects the entry.
fn is_replaceable(dir: &Metadata, sticky_protects: bool) -> bool {
    let is_protected = sticky_protects && dir.mode() & STICKY != 0;
    !is_own(dir) || dir.mode() & WRITABLE_BY_OTHERS != 0 && !is_protected
}

/// Returns true if `existing`, a file in the directory `dir`, belongs to root or the current
/// user, or if only the owner of `dir` can create files there.
pub(crate) fn is_trusted(existing: &Metadata, dir: &Path) -> bool {
    is_own(existing) || dir.metadata().is_ok_and(|dir| dir.mode() & WRITABLE_BY_OTHERS == 0)
}
