//! A small file that others poll: replaced whole, many times.

use loader_stage::{ErrorCode, Failure};
use rustix::fs::{Mode, OFlags, fchmod, open};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is replaced by rename, so that a reader sees the old content or
/// the new one. It is readable by all: collectors run under other users.
#[derive(Debug)]
pub(crate) struct Replaced {
    target: PathBuf,
    temporary: PathBuf,
    broken: bool,
}

impl Replaced {
    /// The file `target`, which is not touched yet.
    ///
    /// # Errors
    /// `cannot_create` where something other than a regular file has the name.
    pub(crate) fn new(target: &Path) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {why}", target.display()));
        let name = target.file_name().ok_or_else(|| refuse("is not the name of a file"))?.to_string_lossy();
        match fs::symlink_metadata(target) {
            Ok(existing) if !existing.is_file() && !existing.is_symlink() => {
                return Err(refuse("is not a regular file"));
            }
            _ => {}
        }
        let short: String = name.chars().take(64).collect();
        let temporary = target.with_file_name(format!(".{short}.{}.tmp", std::process::id()));
        remove_stale(&temporary, &format!(".{short}."));
        Ok(Self { target: target.to_owned(), temporary, broken: false })
    }

    /// Replaces the content for the first time, or fails early.
    ///
    /// # Errors
    /// `cannot_create` where the folder does not take the file.
    pub(crate) fn begin(&mut self, content: &[u8]) -> Result<(), Failure> {
        self.write(content, false)
            .map_err(|error| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", self.target.display())))
    }

    /// Replaces the content. A failure is told once, as a line of text: it does
    /// not stop what is watched.
    pub(crate) fn put(&mut self, content: &[u8], durable: bool) -> Option<String> {
        let error = self.write(content, durable).err();
        let told = std::mem::replace(&mut self.broken, error.is_some());
        error.filter(|_| !told).map(|error| format!("az-status: {}: {error}", self.target.display()))
    }

    fn write(&self, content: &[u8], durable: bool) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let fd = match open(&self.temporary, flags, mode) {
            // Left by a process of the same id that was killed.
            Err(rustix::io::Errno::EXIST) => {
                fs::remove_file(&self.temporary)?;
                open(&self.temporary, flags, mode)?
            }
            other => other?,
        };
        // Whatever the umask, as under systemd; a file system without modes has its own.
        let _ = fchmod(&fd, mode);
        let mut file = File::from(fd);
        let outcome = file
            .write_all(content)
            .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
            .and_then(|()| fs::rename(&self.temporary, &self.target));
        if outcome.is_err() {
            let _ = fs::remove_file(&self.temporary);
        }
        outcome
    }
}

/// Removes what processes that were killed left beside `temporary`.
fn remove_stale(temporary: &Path, prefix: &str) {
    let folder = temporary.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for name in crate::folder::names(folder).unwrap_or_default() {
        let pid = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".tmp")?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_file(folder.join(&name));
        }
    }
}
