//! A temporary run directory for the event files of a command.

use loader_stage::entry_names;
use rustix::fs::{AtFlags, CWD, unlinkat};
use std::env;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that only this user can enter, for a command without `AZ_RUN_DIR`: az-load reads
/// the final line of the previous stage there. Removed on drop.
#[derive(Debug)]
pub(crate) struct TempRunDir(PathBuf);

impl TempRunDir {
    /// Creates a directory in the first writable directory of these: runtime directory of the
    /// service, runtime directory of the user, `/run`, directory for temporary files. Returns
    /// `None` if none is writable.
    pub(crate) fn create(name: &str) -> Option<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        // systemd separates several directories with colons.
        let first = |value: std::ffi::OsString| {
            PathBuf::from(OsStr::from_bytes(value.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default()))
        };
        let service = set("RUNTIME_DIRECTORY").map(first);
        let user = set("XDG_RUNTIME_DIR").map(PathBuf::from);
        let parents = service.into_iter().chain(user).chain([PathBuf::from("/run"), env::temp_dir()]);
        // An existing directory is not used: another user may have created it.
        let mut paths =
            parents.filter(|parent| parent.is_absolute()).map(|parent| parent.join(format!("az-status-{name}")));
        paths.find(|path| DirBuilder::new().mode(0o700).create(path).is_ok()).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps the directory for stages that outlive this process.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for TempRunDir {
    /// Removes the event files and the directory, if it is empty then.
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        for name in entry_names(&self.0).unwrap_or_default() {
            if name.as_bytes().ends_with(b".jsonl") {
                let _ = unlinkat(CWD, self.0.join(name), AtFlags::empty());
            }
        }
        let _ = unlinkat(CWD, &self.0, AtFlags::REMOVEDIR);
    }
}
