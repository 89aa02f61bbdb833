//! Atomic creation and replacement of files.

use crate::{access, entry_names};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, XattrFlags, fchmod, flock, fsetxattr, lgetxattr, linkat,
    open, renameat_with,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// Directory with the descriptors of this process.
const FD_DIR: &str = "/proc/self/fd";

/// Steps to undo when a signal or a panic ends the process, the oldest first.
static UNDO_STEPS: Mutex<Vec<UndoStep>> = Mutex::new(Vec::new());

/// One step that restores a directory to its previous content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UndoStep {
    /// Removes a temporary name.
    Remove(PathBuf),
    /// Removes a file from its target path, if it still has this device and inode.
    RemovePlaced(PathBuf, (u64, u64)),
    /// Renames a replaced file from the first path, its backup, to the second.
    Restore(PathBuf, PathBuf),
}

impl UndoStep {
    fn run(&self) {
        // If a step cannot be undone, a complete file remains.
        let _ = match self {
            Self::Remove(path) => fs::remove_file(path),
            Self::RemovePlaced(path, id) if id_of(path).is_ok_and(|named| named == *id) => fs::remove_file(path),
            Self::RemovePlaced(..) => Ok(()),
            Self::Restore(kept, path) => fs::rename(kept, path),
        };
    }
}

/// Extended attribute that contains the access control list of a file (acl(5)).
const ACL_ATTRIBUTE: &str = "system.posix_acl_access";

/// Maximum size in bytes of an access control list that is copied.
const MAX_ACL_LEN: usize = 4096;

/// Treatment of a file that already exists at the target path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// The commit fails, and the existing file is unchanged.
    Refuse,
    /// The new file replaces it and has mode 0600.
    Replace,
    /// The new file replaces it and gets its owner, mode and access control list.
    ReplaceKeepingAttributes,
}

/// A new file with mode 0600 that is not at its target path yet. It has no name if the
/// filesystem supports that (O_TMPFILE), or else a temporary name in the same directory.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    target: PathBuf,
    temporary: Option<PathBuf>,
    existing: Existing,
}

impl AtomicFile {
    /// Creates a file for the path `target`.
    ///
    /// # Errors
    /// The error of the system call if no file can be created in the directory.
    pub(crate) fn create(target: &Path, existing: Existing) -> io::Result<Self> {
        // If nothing is replaced, the file of a killed process may be the only copy of its data.
        if existing != Existing::Refuse {
            remove_stale(target);
        }
        let dir = dir_of(target);
        let mode = Mode::RUSR | Mode::WUSR;
        // Without /proc, a file without a name cannot be linked to one.
        let unnamed =
            Path::new(FD_DIR).is_dir().then(|| open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode).ok());
        let (file, temporary) = match unnamed.flatten() {
            Some(file) => (file, None),
            None => {
                let path = temporary_name(target)?;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut undo = lock_undo_steps();
                let file = open(&path, flags, mode)?;
                undo.push(UndoStep::Remove(path.clone()));
                (file, Some(path))
            }
        };
        // The lock is held until the process ends: a file without one was left by a killed process.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { file: File::from(file), target: target.to_owned(), temporary, existing })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable and puts it at the target path.
    ///
    /// # Errors
    /// The error of a system call, in which case an existing file is unchanged.
    /// `AlreadyExists` if there is one and it must not be replaced.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.copy_attributes();
        self.file.sync_all()?;
        let temporary = self.temporary_path()?;
        let mut undo = lock_undo_steps();
        match self.existing {
            Existing::Refuse => rename_new(&temporary, &self.target)?,
            Existing::Replace | Existing::ReplaceKeepingAttributes => fs::rename(&temporary, &self.target)?,
        }
        forget_temporary(&mut undo, &temporary);
        self.temporary = None;
        drop(undo);
        self.sync_dir()
    }

    /// Commits all `files`. If one fails, all replaced files are restored.
    ///
    /// # Errors
    /// The errors of [`AtomicFile::commit`], with the path of the file.
    pub(crate) fn commit_all(mut files: Vec<Self>) -> Result<(), (PathBuf, io::Error)> {
        let at = |file: &Self, error| (file.target.clone(), error);
        // Slow steps, and steps that fail if the disk is full, come before the first rename.
        for file in &files {
            file.copy_attributes();
            file.file.sync_all().map_err(|error| at(file, error))?;
        }
        let mut placed: Vec<UndoStep> = Vec::new();
        for file in &mut files {
            match file.rename_into_place() {
                Ok(step) => placed.push(step),
                Err(error) => {
                    let mut undo = lock_undo_steps();
                    placed.iter().rev().for_each(UndoStep::run);
                    undo.retain(|step| !placed.contains(step));
                    return Err(at(file, error));
                }
            }
        }
        let outcome = files.iter().try_for_each(|file| file.sync_dir().map_err(|error| at(file, error)));
        let mut undo = lock_undo_steps();
        for step in &placed {
            if let UndoStep::Restore(kept, _) = step {
                let _ = fs::remove_file(kept);
            }
        }
        undo.retain(|step| !placed.contains(step));
        outcome
    }

    /// Copies owner, mode and access control list of the file at the target path, as far as
    /// the user may set them and the filesystem supports them. The attributes of a file that
    /// another user created in a shared directory are not copied.
    fn copy_attributes(&self) {
        let Ok(old) = self.target.symlink_metadata() else { return };
        if self.existing != Existing::ReplaceKeepingAttributes
            || !old.is_file()
            || !access::is_trusted(&old, dir_of(&self.target))
        {
            return;
        }
        // Only root can change the owner; the group may be another group of the user.
        let _ =
            fchown(&self.file, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(&self.file, None, Some(old.gid())));
        let is_same_group = self.file.metadata().is_ok_and(|new| new.gid() == old.gid());
        let mut acl = [0; MAX_ACL_LEN];
        let has_same_acl = match lgetxattr(&self.target, ACL_ATTRIBUTE, &mut acl) {
            Ok(len) => fsetxattr(&self.file, ACL_ATTRIBUTE, &acl[..len], XattrFlags::empty()).is_ok(),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => true,
            Err(_) => false,
        };
        let kept = if is_same_group && has_same_acl { 0o777 } else { 0o707 };
        let _ = fchmod(&self.file, Mode::from_raw_mode(old.mode() & kept));
    }

    /// Renames the file to its target path, and keeps a replaced file as a backup. Returns the
    /// step that undoes the rename; the caller removes the backup.
    fn rename_into_place(&mut self) -> io::Result<UndoStep> {
        let temporary = self.temporary_path()?;
        let id = self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))?;
        let mut undo = lock_undo_steps();
        let step = match rename_new(&temporary, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.existing != Existing::Refuse => {
                UndoStep::Restore(exchange(&temporary, &self.target)?, self.target.clone())
            }
            outcome => outcome.map(|()| UndoStep::RemovePlaced(self.target.clone(), id))?,
        };
        forget_temporary(&mut undo, &temporary);
        undo.push(step.clone());
        self.temporary = None;
        Ok(step)
    }

    /// Returns the temporary path of the file, after linking the file to one if it has no name.
    fn temporary_path(&mut self) -> io::Result<PathBuf> {
        if let Some(path) = &self.temporary {
            return Ok(path.clone());
        }
        let path = temporary_name(&self.target)?;
        let own = format!("{FD_DIR}/{}", self.file.as_raw_fd());
        let mut undo = lock_undo_steps();
        linkat(CWD, own, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        undo.push(UndoStep::Remove(path.clone()));
        self.temporary = Some(path.clone());
        Ok(path)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(dir_of(&self.target))?.sync_all()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            let mut undo = lock_undo_steps();
            let _ = fs::remove_file(&path);
            forget_temporary(&mut undo, &path);
        }
    }
}

/// Undoes all unfinished steps, for a process that is about to end. No file can be committed
/// afterwards, since the lock is never released.
pub(crate) fn undo_all() {
    let mut undo = lock_undo_steps();
    undo.drain(..).rev().for_each(|step| step.run());
    std::mem::forget(undo);
}

/// Renames a file to a path that does not exist yet.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Filesystems without this flag support hard links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            linkat(CWD, from, CWD, to, AtFlags::empty())?;
            fs::remove_file(from)
        }
        outcome => Ok(outcome?),
    }
}

/// Renames a file to the path of an existing one, and returns the path of the backup of that
/// one.
fn exchange(from: &Path, to: &Path) -> io::Result<PathBuf> {
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

fn forget_temporary(undo: &mut Vec<UndoStep>, path: &Path) {
    undo.retain(|step| !matches!(step, UndoStep::Remove(other) if other == path));
}

fn lock_undo_steps() -> MutexGuard<'static, Vec<UndoStep>> {
    UNDO_STEPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the temporary files for `target` that killed processes left, which are not locked
/// any more.
fn remove_stale(target: &Path) {
    let prefix = format!(".{}.", short_name(target));
    let dir = dir_of(target);
    for name in entry_names(dir).unwrap_or_default() {
        let Some(name) = name.to_str() else { continue };
        let middle = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".tmp"));
        if !middle.is_some_and(|random| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())) {
            continue;
        }
        let path = dir.join(name);
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
