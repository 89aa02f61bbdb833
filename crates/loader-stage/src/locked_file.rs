//! Opening and locking a file that is changed in place.

use crate::{ErrorCode, Failure, LockWait, Stage};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Regular file with an exclusive lock.
pub struct LockedFile {
    /// Canonical path.
    pub path: PathBuf,
    /// Name for messages, as on the command line.
    pub name: String,
    /// The open file, which is locked.
    pub file: File,
    /// False if the filesystem has no locks. Another process may then change the file, too.
    pub is_locked: bool,
}

impl LockedFile {
    /// Opens and locks the file. `other_output` is the hint for changing a copy, and `stream` the
    /// one for changing a stream. The wait for the lock is limited, because any process that
    /// can read the file can lock it.
    ///
    /// # Errors
    /// `usage` for other types of files; `temporary` if the lock is still held after the
    /// wait; `not_found`, `cannot_create` and `io`.
    pub fn lock(stage: &Stage, path: &Path, other_output: &str, stream: &str) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let lock_wait = stage.lock_wait()?;
        let refused = |error: io::Error| refused(&name, &error, other_output);
        loop {
            let path = fs::canonicalize(path).map_err(refused)?;
            if !path.metadata().map_err(refused)?.is_file() {
                let why = format_args!("{name}: is not a regular file");
                return Err(Failure::new(ErrorCode::Usage, why).hint(format!("to change a stream, {stream}")));
            }
            let file = OpenOptions::new().read(true).write(true).open(&path).map_err(refused)?;
            let is_locked = lock_file(&file, &lock_wait).map_err(|error| not_locked(&name, &error, other_output))?;
            // Another process may have replaced the file while this one waited.
            let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let held = file.metadata().map_err(|error| Failure::io(&name, &error))?;
            if path.metadata().is_ok_and(|named| id(named) == id(held)) {
                return Ok(Self { path, name, file, is_locked });
            }
        }
    }

    /// Syncs the directory of the file, so that created and removed names are durable.
    pub fn sync_dir(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// Locks the file. Returns false if its filesystem has no locks.
fn lock_file(file: &File, lock_wait: &LockWait<'_>) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => lock_wait.wait(file)?,
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => return Ok(false),
            outcome => return Ok(outcome.map(|()| true)?),
        }
    }
}

fn not_locked(name: &str, error: &io::Error, other_output: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::ResourceBusy => Failure::new(ErrorCode::Temporary, format_args!("{name}: {error}"))
            .hint(format!("stop that process, or change a copy: {other_output}")),
        _ => Failure::io(name, error),
    }
}

fn refused(name: &str, error: &io::Error, other_output: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::new(ErrorCode::NotFound, format_args!("{name}: no such file"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {error}"))
                .hint(format!("write the result to another file: {other_output}"))
        }
        _ => Failure::io(name, error),
    }
}
