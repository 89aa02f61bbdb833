//! A directory for the event files of one command.

use crate::folder;
use rustix::fs::{AtFlags, CWD, unlinkat};
use std::env;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that only this user can enter, for the stages of a command that was given no
/// `AZ_RUN_DIR`: az-load looks there for the final line of the previous stage.
#[derive(Debug)]
pub(crate) struct RunDir(PathBuf);

impl RunDir {
    /// A new directory in the first place that takes one: the service's own runtime directory,
    /// the user's, `/run`, the one for temporary files. `None` if none does.
    pub(crate) fn create(name: &str) -> Option<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        // systemd may name several directories, with colons between them.
        let first = |value: std::ffi::OsString| {
            PathBuf::from(OsStr::from_bytes(value.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default()))
        };
        let service = set("RUNTIME_DIRECTORY").map(first);
        let user = set("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = service.into_iter().chain(user).chain([PathBuf::from("/run"), env::temp_dir()]);
        // An existing directory, whoever made it, is not taken.
        let mut made = places.filter(|place| place.is_absolute()).map(|place| place.join(format!("az-status-{name}")));
        made.find(|path| DirBuilder::new().mode(0o700).create(path).is_ok()).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves the directory to stages that outlive this process.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for RunDir {
    /// Removes the directory and the event files in it. What cannot be removed stays.
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        for name in folder::names(&self.0).unwrap_or_default() {
            if name.as_bytes().ends_with(b".jsonl") {
                let _ = unlinkat(CWD, self.0.join(name), AtFlags::empty());
            }
        }
        let _ = unlinkat(CWD, &self.0, AtFlags::REMOVEDIR);
    }
}
