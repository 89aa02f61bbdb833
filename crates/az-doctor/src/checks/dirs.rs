//! Directories that the commands write to.

use crate::context::Context;
use crate::finding::Finding;
use loader_stage::{ErrorCode, Failure};
use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Minimum free space for event lines, in bytes.
const RUN_MIN: u64 = 1 << 20;

/// A directory that this user can write to or create.
pub(crate) struct WritableDir {
    /// Free space in bytes.
    pub(crate) free: u64,
    /// False for a directory that can be created.
    pub(crate) exists: bool,
}

/// Checks `dir`, or its nearest existing ancestor.
///
/// # Errors
/// `cannot_create` if this user cannot write there.
pub(crate) fn check_writable(dir: &Path) -> Result<WritableDir, Failure> {
    let fail = |path: &Path, error: io::Error| {
        let error = error.to_string();
        let reason = error.split(" (os error").next().unwrap_or_default().to_lowercase();
        let text = format_args!("{}: not writable: {reason}", path.display());
        Err(Failure::new(ErrorCode::CannotCreate, text)
            .hint("choose a directory that this user can write to".to_owned()))
    };
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let existing = absolute.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return fail(existing, io::ErrorKind::NotADirectory.into());
    }
    let space = access(existing, Access::WRITE_OK | Access::EXEC_OK).and_then(|()| statvfs(existing));
    match space {
        Ok(space) if space.f_files > 0 && space.f_favail == 0 => fail(existing, io::ErrorKind::StorageFull.into()),
        Ok(space) => {
            Ok(WritableDir { free: space.f_bavail.saturating_mul(space.f_frsize), exists: existing == absolute })
        }
        Err(error) => fail(existing, error.into()),
    }
}

pub(crate) fn run_dir(context: &Context<'_>) -> Result<Finding, Failure> {
    let given = context.cli.run_dir.clone().or_else(|| env_path("AZ_RUN_DIR"));
    let dir = given.unwrap_or_else(unlock_dir);
    let writable = check_writable(&dir)?;
    refuse_shared(&dir)?;
    let path = dir.display();
    if writable.free < RUN_MIN {
        let text = format_args!("{path}: {} bytes free", writable.free);
        return Err(Failure::new(ErrorCode::Io, text).hint("free some space for the event lines".to_owned()));
    }
    let state = if writable.exists { "writable" } else { "does not exist, can be created" };
    Ok(Finding::ok(format_args!("{path}: {state}")).with("free", writable.free))
}

/// Fails if another user could replace an event file by a symbolic link. az-unlock makes the same
/// check.
///
/// # Errors
/// `cannot_create` if `dir` is a symbolic link, belongs to another user, or others can write to it.
fn refuse_shared(dir: &Path) -> Result<(), Failure> {
    let Ok(metadata) = dir.symlink_metadata() else { return Ok(()) };
    let is_own = [0, geteuid().as_raw()].contains(&metadata.uid());
    if metadata.is_dir() && is_own && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let text = format_args!("{}: a symbolic link, or other users can write to it", dir.display());
    Err(Failure::new(ErrorCode::CannotCreate, text)
        .hint("choose a directory that only this user can write to".to_owned()))
}

/// Returns the directory that az-unlock uses for event lines.
fn unlock_dir() -> PathBuf {
    if let Some(dirs) = env_path("RUNTIME_DIRECTORY") {
        // systemd separates several directories with colons.
        let first = dirs.as_os_str().as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        return PathBuf::from(OsStr::from_bytes(first));
    }
    if geteuid().is_root() {
        return PathBuf::from("/run/azaion");
    }
    let of_user = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let of_user = Some(of_user).filter(|dir| access(dir, Access::WRITE_OK).is_ok());
    env_path("XDG_RUNTIME_DIR").or(of_user).or_else(|| env_path("HOME")).unwrap_or_default().join("azaion")
}

fn env_path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
