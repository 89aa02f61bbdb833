//! A small file that other programs poll.

use loader_stage::{ErrorCode, Failure};
use rustix::fs::{Mode, OFlags, fchmod, open};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is replaced by rename(2), so that a reader sees either the old or the new content.
/// All users can read it, since collectors run as other users. Unlike an output of `loader-stage`,
/// it is replaced many times a second, without a flush to the disk.
#[derive(Debug)]
pub(crate) struct PolledFile {
    target: PathBuf,
    temporary: PathBuf,
    /// True if the last write failed.
    is_failing: bool,
}

impl PolledFile {
    /// Prepares to replace the file `target`, without changing it yet.
    ///
    /// # Errors
    /// `cannot_create` if `target` exists and is not a regular file.
    pub(crate) fn new(target: &Path) -> Result<Self, Failure> {
        let failure =
            |reason: &str| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {reason}", target.display()));
        let name = target.file_name().ok_or_else(|| failure("is not the name of a file"))?.to_string_lossy();
        match fs::symlink_metadata(target) {
            Ok(existing) if !existing.is_file() && !existing.is_symlink() => {
                return Err(failure("is not a regular file"));
            }
            _ => {}
        }
        let short: String = name.chars().take(64).collect();
        let temporary = target.with_file_name(format!(".{short}.{}.tmp", std::process::id()));
        remove_stale(&temporary, &format!(".{short}."));
        Ok(Self { target: target.to_owned(), temporary, is_failing: false })
    }

    /// Replaces the content for the first time.
    ///
    /// # Errors
    /// `cannot_create` if the file cannot be written.
    pub(crate) fn create(&mut self, content: &[u8]) -> Result<(), Failure> {
        self.write(content, false)
            .map_err(|error| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", self.target.display())))
    }

    /// Replaces the content. Returns a message for the first of several failed writes, which do not
    /// stop the pipeline.
    pub(crate) fn replace(&mut self, content: &[u8], durable: bool) -> Option<String> {
        let error = self.write(content, durable).err();
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        error.filter(|_| !was_failing).map(|error| format!("az-status: {}: {error}", self.target.display()))
    }

    fn write(&self, content: &[u8], durable: bool) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let fd = match open(&self.temporary, flags, mode) {
            // A killed process with the same id left it.
            Err(rustix::io::Errno::EXIST) => {
                fs::remove_file(&self.temporary)?;
                open(&self.temporary, flags, mode)?
            }
            other => other?,
        };
        // The mode must not depend on the umask. The call fails on filesystems without modes.
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

/// Removes temporary files that killed processes left in the directory of `temporary`.
fn remove_stale(temporary: &Path, prefix: &str) {
    let dir = temporary.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for name in loader_stage::entry_names(dir).unwrap_or_default() {
        let pid = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".tmp")?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_file(dir.join(&name));
        }
    }
}
