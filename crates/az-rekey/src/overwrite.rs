//! Overwriting a header by another one of the same length. After a power loss, the file has
//! the old header, the new header, or a journal from which the old header is restored.

use loader_seal::Header;
use loader_seal::rekey::{HeaderJournal, RecoveryState};
use loader_stage::{ErrorCode, Failure, LockedFile, OrFail};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Overwrites `old` by `new`: writes and syncs the journal, writes and syncs the bytes that
/// differ, and removes the journal. Returns the number of bytes written.
pub(crate) fn overwrite(locked: &LockedFile, old: &Header, new: &Header) -> Result<u64, Failure> {
    let journal = HeaderJournal::new(old, new).or_fail_at(&locked.name)?;
    let journal_len = write_journal(locked, &journal)?;
    let Err(error) = write(&locked.file, journal.redo()) else {
        remove_journal(locked)?;
        let changed: usize = journal.redo().map(|(_, bytes)| bytes.len()).sum();
        return Ok(journal_len + changed as u64);
    };
    // If the old bytes cannot be restored either, the journal is kept for a later recovery.
    let undone = write(&locked.file, journal.undo()).is_ok() && remove_journal(locked).is_ok();
    let hint = (!undone).then(|| format!("restore the old header with az-rekey --recover {}", locked.name));
    Err(Failure::io(&locked.name, &error).hint(hint))
}

/// Recovers the file with its journal. Returns the state of the header for the event
/// `recovered`, or `None` if there is no journal.
pub(crate) fn recover(locked: &LockedFile) -> Result<Option<&'static str>, Failure> {
    let path = journal_path(locked);
    let failed = |error: io::Error| Failure::io(path.display(), &error);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    if !is_trusted(locked, &file).map_err(failed)? {
        return Err(untrusted(&path, "written by another user"));
    }
    let mut bytes = Vec::new();
    file.take(HeaderJournal::LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let Some(journal) = HeaderJournal::from_bytes(&bytes) else {
        // The journal is incomplete, so the file was not changed yet.
        remove_journal(locked)?;
        return Ok(Some("untouched"));
    };
    let mut current = vec![0; 65536];
    let len = read_full_at(&locked.file, &mut current).map_err(|error| Failure::io(&locked.name, &error))?;
    let state = match journal.recovery_state(&current[..len]) {
        RecoveryState::Unchanged => "untouched",
        RecoveryState::Complete => "finished",
        RecoveryState::Mixed => {
            write(&locked.file, journal.undo()).map_err(|error| Failure::io(&locked.name, &error))?;
            "restored"
        }
        RecoveryState::OtherFile => return Err(untrusted(&path, "a journal of another file")),
    };
    // The bytes of the interrupted process may not be durable yet.
    locked.file.sync_all().map_err(|error| Failure::io(&locked.name, &error))?;
    remove_journal(locked)?;
    Ok(Some(state))
}

/// Returns true if the owner of the journal is root, the current user, or the owner of the
/// file. In a directory that everybody can write to, anybody can create a journal.
fn is_trusted(locked: &LockedFile, journal: &File) -> io::Result<bool> {
    let (journal, file) = (journal.metadata()?.uid(), locked.file.metadata()?.uid());
    Ok([0, file, rustix::process::geteuid().as_raw()].contains(&journal))
}

fn untrusted(path: &Path, why: &str) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{}: {why}", path.display()))
        .hint("nothing was changed; find out who created the journal before you remove it".to_owned())
}

/// Returns the path of the journal.
pub(crate) fn journal_path(locked: &LockedFile) -> PathBuf {
    HeaderJournal::path_for(&locked.path)
}

fn write_journal(locked: &LockedFile, journal: &HeaderJournal) -> Result<u64, Failure> {
    let path = journal_path(locked);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let bytes = journal.to_bytes();
    let written = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from).and_then(|file| {
        let mut file = File::from(file);
        file.write_all(&bytes)?;
        file.sync_all()?;
        locked.sync_dir()
    });
    match written {
        Ok(()) => Ok(bytes.len() as u64),
        Err(error) => {
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(&path);
            }
            Err(Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", path.display())).hint(
                "a journal is written to the directory of the file; if that is not possible, use -o OUT".to_owned(),
            ))
        }
    }
}

fn remove_journal(locked: &LockedFile) -> Result<(), Failure> {
    let path = journal_path(locked);
    let removed = fs::remove_file(&path).and_then(|()| locked.sync_dir());
    removed.map_err(|error| Failure::io(path.display(), &error))
}

fn write<'b>(file: &File, writes: impl Iterator<Item = (u64, &'b [u8])>) -> io::Result<()> {
    for (at, bytes) in writes {
        file.write_all_at(bytes, at)?;
    }
    file.sync_all()
}

fn read_full_at(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        match file.read_at(&mut buffer[filled..], filled as u64) {
            Ok(0) => return Ok(filled),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
