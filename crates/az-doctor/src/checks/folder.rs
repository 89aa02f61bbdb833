//! Folders that a stage writes to.

use crate::finding::Finding;
use crate::visit::Visit;
use loader_stage::{ErrorCode, Failure};
use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Least bytes that a folder of event lines needs.
const RUN_MIN: u64 = 1 << 20;

/// Whether this user may write to a folder, or make it.
pub(crate) struct Writable {
    /// Bytes free on its file system.
    pub(crate) free: u64,
    /// True where it is there already.
    pub(crate) exists: bool,
}

/// Looks at `folder`, or at the nearest one above it that is there.
///
/// # Errors
/// `cannot_create` where nothing can be written there.
pub(crate) fn writable(folder: &Path) -> Result<Writable, Failure> {
    let fail = |place: &Path, error: io::Error| {
        let error = error.to_string();
        let why = error.split(" (os error").next().unwrap_or_default().to_lowercase();
        let what = format_args!("{}: nothing can be written there: {why}", place.display());
        Err(Failure::new(ErrorCode::CannotCreate, what)
            .hint("name a folder of this user on a file system that is writable".to_owned()))
    };
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = absolute.ancestors().find(|place| place.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return fail(there, io::ErrorKind::NotADirectory.into());
    }
    let may = access(there, Access::WRITE_OK | Access::EXEC_OK).and_then(|()| statvfs(there));
    match may {
        Ok(space) if space.f_files > 0 && space.f_favail == 0 => fail(there, io::ErrorKind::StorageFull.into()),
        Ok(space) => Ok(Writable { free: space.f_bavail.saturating_mul(space.f_frsize), exists: there == absolute }),
        Err(error) => fail(there, error.into()),
    }
}

pub(crate) fn run_dir(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let named = visit.cli.run_dir.clone().or_else(|| set("AZ_RUN_DIR"));
    let dir = named.unwrap_or_else(unlock_dir);
    let writable = writable(&dir)?;
    refuse_shared(&dir)?;
    let place = dir.display();
    if writable.free < RUN_MIN {
        let what = format_args!("{place}: {} bytes free", writable.free);
        return Err(Failure::new(ErrorCode::Io, what).hint("make room for the event lines".to_owned()));
    }
    let state = if writable.exists { "writable" } else { "not there, can be made" };
    Ok(Finding::ok(format_args!("{place}: {state}")).with("free", writable.free))
}

/// Fails if another user could plant a symlink in the place of an event file, as az-unlock does.
///
/// # Errors
/// `cannot_create` if `dir` is a symlink, or belongs to someone else, or others can write there.
fn refuse_shared(dir: &Path) -> Result<(), Failure> {
    let Ok(metadata) = dir.symlink_metadata() else { return Ok(()) };
    let ours = [0, geteuid().as_raw()].contains(&metadata.uid());
    if metadata.is_dir() && ours && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = format_args!("{}: a symlink, or others can write there", dir.display());
    Err(Failure::new(ErrorCode::CannotCreate, what)
        .hint("name a directory that only this user can write to".to_owned()))
}

/// Where az-unlock keeps what a run says.
fn unlock_dir() -> PathBuf {
    if let Some(dirs) = set("RUNTIME_DIRECTORY") {
        // systemd may name several, with colons between them.
        let first = dirs.as_os_str().as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        return PathBuf::from(OsStr::from_bytes(first));
    }
    if geteuid().is_root() {
        return PathBuf::from("/run/azaion");
    }
    let of_user = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let of_user = Some(of_user).filter(|dir| access(dir, Access::WRITE_OK).is_ok());
    set("XDG_RUNTIME_DIR").or(of_user).or_else(|| set("HOME")).unwrap_or_default().join("azaion")
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
