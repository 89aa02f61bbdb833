//! A file that appears under its name whole or not at all.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Temporary names that a signal must remove.
static NAMED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A new file, mode 0600, without a name where the file system can do that
/// (O_TMPFILE), else under a temporary name in the same folder.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: File,
    target: PathBuf,
    temporary: Option<PathBuf>,
}

impl TempFile {
    /// A file that will be `target`.
    ///
    /// # Errors
    /// The system's, where the folder does not take a new file.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        let mode = Mode::RUSR | Mode::WUSR;
        let unnamed = open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode);
        let (file, temporary) = match unnamed {
            Ok(file) => (file, None),
            Err(_) => {
                let path = temporary_name(target)?;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                named().push(path.clone());
                let file = open(&path, flags, mode).inspect_err(|_| forget(&path))?;
                (file, Some(path))
            }
        };
        Ok(Self { file: File::from(file), target: target.to_owned(), temporary })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable under its name, replacing what was there.
    ///
    /// # Errors
    /// The system's; then what was there is still there.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let temporary = match &self.temporary {
            Some(path) => path.clone(),
            None => {
                let path = temporary_name(&self.target)?;
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                named().push(path.clone());
                linkat(CWD, own, CWD, &path, AtFlags::SYMLINK_FOLLOW).inspect_err(|_| forget(&path))?;
                self.temporary = Some(path.clone());
                path
            }
        };
        fs::rename(&temporary, &self.target)?;
        self.forget_name();
        File::open(folder_of(&self.target))?.sync_all()
    }

    fn forget_name(&mut self) {
        if let Some(path) = self.temporary.take() {
            forget(&path);
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = fs::remove_file(path);
        }
        self.forget_name();
    }
}

/// Removes every temporary name; for a process that is about to end by a signal.
pub(crate) fn remove_all() {
    for path in named().drain(..) {
        let _ = fs::remove_file(path);
    }
}

fn forget(path: &Path) {
    named().retain(|other| other != path);
}

fn named() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    NAMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(64).collect();
    Ok(folder_of(target).join(format!(".{short}.{:016x}.tmp", u64::from_be_bytes(random))))
}
