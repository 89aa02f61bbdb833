//! A file that appears under its name whole or not at all.

use crate::access;
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, XattrFlags, fchmod, flock, fsetxattr, lgetxattr,
    linkat, open, renameat_with,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// Where the system lists the descriptors of this process.
const DESCRIPTORS: &str = "/proc/self/fd";

/// What a signal must undo, the oldest first.
static UNDO: Mutex<Vec<Undo>> = Mutex::new(Vec::new());

/// One step back to how the folders were.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    /// Remove a temporary name.
    Remove(PathBuf),
    /// Remove a file that was given its name, while it is the one with this
    /// device and inode.
    Unname(PathBuf, (u64, u64)),
    /// Put back what a file replaced, which is kept under the first name.
    PutBack(PathBuf, PathBuf),
}

impl Undo {
    fn run(&self) {
        // Whatever cannot be undone is still a whole file.
        let _ = match self {
            Self::Remove(path) => fs::remove_file(path),
            Self::Unname(path, id) if id_of(path).is_ok_and(|named| named == *id) => fs::remove_file(path),
            Self::Unname(..) => Ok(()),
            Self::PutBack(kept, path) => fs::rename(kept, path),
        };
    }
}

/// Attribute that holds the access control list of a file.
const ACL: &str = "system.posix_acl_access";

/// Largest access control list in bytes that a file takes over.
const ACL_MAX: usize = 4096;

/// Treatment of a file that is already at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and the new file is not put there.
    Refuse,
    /// The new file replaces it, with mode 0600.
    Replace,
    /// The new file replaces it and takes over its owner, mode and access control list.
    TakeOver,
}

/// A new file, mode 0600, without a name where the file system can do that
/// (O_TMPFILE), else under a temporary name in the same folder.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: File,
    target: PathBuf,
    temporary: Option<PathBuf>,
    existing: Existing,
}

impl TempFile {
    /// A file that will be `target`; `existing` tells how to treat a file that is there.
    ///
    /// # Errors
    /// The system's, where the folder does not take a new file.
    pub(crate) fn create(target: &Path, existing: Existing) -> io::Result<Self> {
        // Where nothing is replaced, what a killed run left may be all there is of a file.
        if existing != Existing::Refuse {
            remove_stale(target);
        }
        let folder = dir_of(target);
        let mode = Mode::RUSR | Mode::WUSR;
        // Without /proc a file that has no name cannot be given one.
        let unnamed = Path::new(DESCRIPTORS)
            .is_dir()
            .then(|| open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode).ok());
        let (file, temporary) = match unnamed.flatten() {
            Some(file) => (file, None),
            None => {
                let path = temporary_name(target)?;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut undo = undo();
                let file = open(&path, flags, mode)?;
                undo.push(Undo::Remove(path.clone()));
                (file, Some(path))
            }
        };
        // Held while the process lives: what is not locked was left by one that was killed.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { file: File::from(file), target: target.to_owned(), temporary, existing })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable under its name.
    ///
    /// # Errors
    /// The system's; then what was there is still there. `AlreadyExists` where
    /// something is there and is not to be replaced.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.take_over();
        self.file.sync_all()?;
        let temporary = self.name()?;
        let mut undo = undo();
        match self.existing {
            Existing::Refuse => rename_new(&temporary, &self.target)?,
            Existing::Replace | Existing::TakeOver => fs::rename(&temporary, &self.target)?,
        }
        forget(&mut undo, &temporary);
        self.temporary = None;
        drop(undo);
        self.sync_folder()
    }

    /// Makes all of `files` durable under their names, or none of them: then what
    /// was there is there again, and nothing else was touched.
    ///
    /// # Errors
    /// The system's, as of [`TempFile::commit`], with the path it is about.
    pub(crate) fn commit_all(mut files: Vec<Self>) -> Result<(), (PathBuf, io::Error)> {
        let at = |file: &Self, error| (file.target.clone(), error);
        // What takes long and what fails for want of space comes before the first name.
        for file in &files {
            file.take_over();
            file.file.sync_all().map_err(|error| at(file, error))?;
        }
        let mut placed: Vec<Undo> = Vec::new();
        for file in &mut files {
            match file.place() {
                Ok(step) => placed.push(step),
                Err(error) => {
                    let mut undo = undo();
                    placed.iter().rev().for_each(Undo::run);
                    undo.retain(|step| !placed.contains(step));
                    return Err(at(file, error));
                }
            }
        }
        let outcome = files.iter().try_for_each(|file| file.sync_folder().map_err(|error| at(file, error)));
        let mut undo = undo();
        for step in &placed {
            if let Undo::PutBack(kept, _) = step {
                let _ = fs::remove_file(kept);
            }
        }
        undo.retain(|step| !placed.contains(step));
        outcome
    }

    /// Gives the file the owner, mode and access control list of the file that it is to
    /// take over, as far as the user may and the filesystem has them. A file that
    /// another user put into a shared directory has none to take over.
    fn take_over(&self) {
        let Ok(old) = self.target.symlink_metadata() else { return };
        if self.existing != Existing::TakeOver || !old.is_file() || !access::was_meant(&old, dir_of(&self.target)) {
            return;
        }
        // Only root can give a file away; the group may be one of the user's.
        let _ =
            fchown(&self.file, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(&self.file, None, Some(old.gid())));
        let is_same_group = self.file.metadata().is_ok_and(|new| new.gid() == old.gid());
        let mut acl = [0; ACL_MAX];
        let has_same_acl = match lgetxattr(&self.target, ACL, &mut acl) {
            Ok(len) => fsetxattr(&self.file, ACL, &acl[..len], XattrFlags::empty()).is_ok(),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => true,
            Err(_) => false,
        };
        let kept = if is_same_group && has_same_acl { 0o777 } else { 0o707 };
        let _ = fchmod(&self.file, Mode::from_raw_mode(old.mode() & kept));
    }

    /// Gives the file its name, and keeps what it replaces until that is said to
    /// be undone or done.
    fn place(&mut self) -> io::Result<Undo> {
        let temporary = self.name()?;
        let id = self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))?;
        let mut undo = undo();
        let step = match rename_new(&temporary, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.existing != Existing::Refuse => {
                Undo::PutBack(replace(&temporary, &self.target)?, self.target.clone())
            }
            outcome => outcome.map(|()| Undo::Unname(self.target.clone(), id))?,
        };
        forget(&mut undo, &temporary);
        undo.push(step.clone());
        self.temporary = None;
        Ok(step)
    }

    /// The file's temporary name, which it is given where it has none.
    fn name(&mut self) -> io::Result<PathBuf> {
        if let Some(path) = &self.temporary {
            return Ok(path.clone());
        }
        let path = temporary_name(&self.target)?;
        let own = format!("{DESCRIPTORS}/{}", self.file.as_raw_fd());
        let mut undo = undo();
        linkat(CWD, own, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        undo.push(Undo::Remove(path.clone()));
        self.temporary = Some(path.clone());
        Ok(path)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(dir_of(&self.target))?.sync_all()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            let mut undo = undo();
            let _ = fs::remove_file(&path);
            forget(&mut undo, &path);
        }
    }
}

/// Undoes what is not finished; for a process that is about to end. No file gets
/// a name after this.
pub(crate) fn undo_all() {
    let mut undo = undo();
    undo.drain(..).rev().for_each(|step| step.run());
    std::mem::forget(undo);
}

/// Renames a file to where nothing is yet.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems that do not know the flag know hard links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            linkat(CWD, from, CWD, to, AtFlags::empty())?;
            fs::remove_file(from)
        }
        outcome => Ok(outcome?),
    }
}

/// Renames a file to where another one is; gives the name under which that one
/// is kept.
fn replace(from: &Path, to: &Path) -> io::Result<PathBuf> {
    if to.symlink_metadata()?.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let kept = temporary_name(to)?;
            linkat(CWD, to, CWD, &kept, AtFlags::empty())?;
            let renamed = fs::rename(from, to).inspect_err(|_| drop(fs::remove_file(&kept)));
            renamed.map(|()| kept)
        }
        outcome => Ok(outcome.map(|()| from.to_owned())?),
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn forget(undo: &mut Vec<Undo>, path: &Path) {
    undo.retain(|step| !matches!(step, Undo::Remove(other) if other == path));
}

fn undo() -> MutexGuard<'static, Vec<Undo>> {
    UNDO.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what a process that was killed left of its attempt at `target`: a
/// temporary name of it whose file nobody has locked.
fn remove_stale(target: &Path) {
    let prefix = format!(".{}.", short_name(target));
    let folder = dir_of(target);
    // Not std's: that panics where a folder cannot be closed.
    let opened = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let Ok(entries) = opened.and_then(Dir::new) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else { continue };
        let middle = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".tmp"));
        if !middle.is_some_and(|random| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())) {
            continue;
        }
        let path = folder.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = open(&path, flags, Mode::empty()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

fn short_name(target: &Path) -> String {
    target.file_name().unwrap_or_default().to_string_lossy().chars().take(64).collect()
}

fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(dir_of(target).join(format!(".{}.{:016x}.tmp", short_name(target), u64::from_be_bytes(random))))
}
