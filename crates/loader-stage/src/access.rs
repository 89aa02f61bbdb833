//! Users other than root and this one that can open a file, or replace it.

use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Mode bits that let group or others open a file in any way.
pub(crate) const OPEN_TO_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const SEARCHABLE_BY_OTHERS: u32 = 0o011;
const STICKY: u32 = 0o1000;

/// Returns true if the file belongs to root or to the user of this process.
pub(crate) fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.uid() == geteuid().as_raw()
}

/// Returns the path of an open file; `None` for a pipe, for a file that was
/// removed, and if `/proc` is not mounted.
pub(crate) fn path_of(file: &File) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    (id(path.symlink_metadata().ok()?) == id(file.metadata().ok()?)).then_some(path)
}

/// Returns true if another user can open `file`, or may have opened it since it was
/// created: its mode lets others in, and no directory above it keeps them out.
pub(crate) fn may_be_open_elsewhere(file: &File, metadata: &Metadata) -> bool {
    let path = path_of(file);
    // An anonymous pipe belongs to the user that created it, who may have changed with sudo.
    let is_foreign = !is_own(metadata) && (metadata.is_file() || path.is_some());
    let is_open = metadata.mode() & OPEN_TO_OTHERS != 0;
    is_foreign
        || is_open
            && !path
                .is_some_and(|path| path.ancestors().skip(1).any(|dir| dir.metadata().is_ok_and(|dir| is_closed(&dir))))
}

fn is_closed(dir: &Metadata) -> bool {
    is_own(dir) && dir.mode() & SEARCHABLE_BY_OTHERS == 0
}

/// Returns the first directory above the absolute `path` in which another user can
/// replace the file or a directory on the way to it, unless a directory above that one
/// keeps other users out. The sticky bit of a directory higher up protects the directory
/// below it; that of the file's own directory is no excuse, since others could create the
/// name first (as in the `StrictModes` of sshd).
pub(crate) fn replaceable_in(path: &Path) -> Option<PathBuf> {
    let mut found = None;
    for (level, dir) in path.ancestors().skip(1).enumerate() {
        let Ok(metadata) = dir.metadata() else { continue };
        if is_closed(&metadata) {
            found = None;
        } else if found.is_none() && is_loose(&metadata, level > 0) {
            found = Some(dir.to_owned());
        }
    }
    found
}

/// Returns true if another user can replace an entry of the directory `dir`; with
/// `sticky_protects`, an entry of the user.
fn is_loose(dir: &Metadata, sticky_protects: bool) -> bool {
    let is_protected = sticky_protects && dir.mode() & STICKY != 0;
    !is_own(dir) || dir.mode() & WRITABLE_BY_OTHERS != 0 && !is_protected
}

/// Returns true if `existing` belongs to root or this user, or only the owner of the
/// directory `dir`, which it is in, can create files there.
pub(crate) fn was_meant(existing: &Metadata, dir: &Path) -> bool {
    is_own(existing) || dir.metadata().is_ok_and(|dir| dir.mode() & WRITABLE_BY_OTHERS == 0)
}
