//! A header over another of the same length, so that a loss of power leaves the
//! old one or the new one, or what it takes to get the old one back.

use crate::target::Target;
use loader_seal::Header;
use loader_seal::rekey::{Journal, Leftover};
use loader_stage::{ErrorCode, Failure, OrFail};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Writes `new` over `old`: first the journal, durable, then the bytes that
/// differ, durable, then the journal is removed. Gives the bytes written.
pub(crate) fn overwrite(target: &Target, old: &Header, new: &Header) -> Result<u64, Failure> {
    let journal = Journal::new(old, new).or_fail(&target.name, |error| ErrorCode::from_name(error.code()))?;
    let journal_len = write_journal(target, &journal)?;
    let Err(error) = write(&target.file, journal.redo()) else {
        remove_journal(target)?;
        let changed: usize = journal.redo().map(|(_, bytes)| bytes.len()).sum();
        return Ok(journal_len + changed as u64);
    };
    // Where even the old bytes cannot be written the journal stays for a later run.
    let undone = write(&target.file, journal.undo()).is_ok() && remove_journal(target).is_ok();
    let hint = (!undone).then(|| format!("az-rekey --recover {} puts the old header back", target.name));
    Err(Failure::io(&target.name, &error).hint(hint))
}

/// Puts right what a rewrite left behind; gives what that was.
pub(crate) fn recover(target: &Target) -> Result<Option<&'static str>, Failure> {
    let path = target.journal_path();
    let failed = |error: io::Error| Failure::io(path.display(), &error);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    if !is_trusted(target, &file).map_err(failed)? {
        return Err(foreign(&path, "written by another user"));
    }
    let mut bytes = Vec::new();
    file.take(Journal::LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let Some(journal) = Journal::from_bytes(&bytes) else {
        // Cut short itself: the file was not touched yet.
        remove_journal(target)?;
        return Ok(Some("untouched"));
    };
    let mut current = vec![0; 65536];
    let len = read_up_to(&target.file, &mut current).map_err(|error| Failure::io(&target.name, &error))?;
    let found = match journal.judge(&current[..len]) {
        Leftover::Untouched => "untouched",
        Leftover::Finished => "finished",
        Leftover::Torn => {
            write(&target.file, journal.undo()).map_err(|error| Failure::io(&target.name, &error))?;
            "restored"
        }
        Leftover::Foreign => return Err(foreign(&path, "left by a rewrite of another file than this one")),
    };
    // What a run before has written may not be durable yet.
    target.file.sync_all().map_err(|error| Failure::io(&target.name, &error))?;
    remove_journal(target)?;
    Ok(Some(found))
}

/// True where the journal was written by who may change the file: in a folder that
/// all can write to, anyone could put one there.
fn is_trusted(target: &Target, journal: &File) -> io::Result<bool> {
    let (journal, file) = (journal.metadata()?.uid(), target.file.metadata()?.uid());
    Ok([0, file, rustix::process::geteuid().as_raw()].contains(&journal))
}

fn foreign(path: &Path, why: &str) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{}: {why}", path.display()))
        .hint("nothing was changed; remove it once you know where it came from".to_owned())
}

fn write_journal(target: &Target, journal: &Journal) -> Result<u64, Failure> {
    let path = target.journal_path();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let bytes = journal.to_bytes();
    let written = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from).and_then(|file| {
        let mut file = File::from(file);
        file.write_all(&bytes)?;
        file.sync_all()?;
        target.sync_folder()
    });
    match written {
        Ok(()) => Ok(bytes.len() as u64),
        Err(error) => {
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(&path);
            }
            Err(Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", path.display())).hint(
                "the old header is kept there for a moment; a folder that takes no file needs -o OUT elsewhere"
                    .to_owned(),
            ))
        }
    }
}

fn remove_journal(target: &Target) -> Result<(), Failure> {
    let path = target.journal_path();
    let removed = fs::remove_file(&path).and_then(|()| target.sync_folder());
    removed.map_err(|error| Failure::io(path.display(), &error))
}

fn write<'b>(file: &File, writes: impl Iterator<Item = (u64, &'b [u8])>) -> io::Result<()> {
    for (at, bytes) in writes {
        file.write_all_at(bytes, at)?;
    }
    file.sync_all()
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
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
