//! The file that is changed in place, and what stands beside it.

use loader_seal::rekey::Journal;
use loader_stage::{ErrorCode, Failure, LockWait, Stage};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A regular file that no other az-rekey works on.
pub(crate) struct Target {
    /// The file itself, without links.
    pub(crate) path: PathBuf,
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) file: File,
    /// False on a file system without locks, where only the journal tells of others.
    pub(crate) is_locked: bool,
}

impl Target {
    /// Opens the file and waits until no other az-rekey works on it, but not for long:
    /// whoever may read the file can lock it.
    pub(crate) fn lock(stage: &Stage, path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let lock_wait = stage.lock_wait()?;
        loop {
            let path = fs::canonicalize(path).map_err(|error| refused(&name, &error))?;
            if !path.metadata().map_err(|error| refused(&name, &error))?.is_file() {
                let why = format_args!("{name}: is not a regular file");
                let hint = "name standard output to change a stream: az-rekey ... < IN > OUT".to_owned();
                return Err(Failure::new(ErrorCode::Usage, why).hint(hint));
            }
            let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| refused(&name, &error))?;
            let is_locked = lock_file(&file, &lock_wait).map_err(|error| not_locked(&name, &error))?;
            // Another one may have put a new file in its place while this one waited.
            let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let held = file.metadata().map_err(|error| Failure::io(&name, &error))?;
            if path.metadata().is_ok_and(|named| id(named) == id(held)) {
                return Ok(Self { path, name, file, is_locked });
            }
        }
    }

    /// Where the journal of a rewrite stands while one is under way.
    pub(crate) fn journal_path(&self) -> PathBuf {
        Journal::path_of(&self.path)
    }

    /// Makes names in the file's folder durable.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// Locks the file; false where its file system has no locks.
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

fn not_locked(name: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ResourceBusy => Failure::new(ErrorCode::Temporary, format_args!("{name}: {error}"))
            .hint("end that process, or change a copy: az-rekey ... -o OUT FILE".to_owned()),
        _ => Failure::io(name, error),
    }
}

fn refused(name: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::new(ErrorCode::NotFound, format_args!("{name}: no such file"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {error}"))
                .hint("a file that cannot be changed can be copied: az-rekey ... -o OUT FILE".to_owned())
        }
        _ => Failure::io(name, error),
    }
}
