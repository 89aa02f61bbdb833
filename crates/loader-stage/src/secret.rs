//! Secrets: from a file, a descriptor or standard input, never an argument.

use crate::{Failure, Input};
use loader_model::ErrorCode;
use std::path::{Path, PathBuf};

/// Largest secret in bytes.
pub(crate) const SECRET_MAX: usize = 64 * 1024;

/// Where one secret comes from.
#[derive(Clone, Copy, Debug)]
pub struct SecretFrom<'a> {
    pub(crate) what: &'static str,
    pub(crate) file: Option<&'a Path>,
    pub(crate) fd: Option<u32>,
    pub(crate) stdin_default: bool,
}

impl<'a> SecretFrom<'a> {
    /// The secret that messages call `what`, from a file or a descriptor. Where a
    /// secret is missed, hints take `what` for the flag `--<what>-file`.
    pub fn new(what: &'static str, file: Option<&'a Path>, fd: Option<u32>) -> Self {
        Self { what, file, fd, stdin_default: false }
    }

    /// The same, with standard input where neither is given.
    pub fn or_stdin(mut self) -> Self {
        self.stdin_default = true;
        self
    }

    /// True where a source is named, or standard input stands in.
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.fd.is_some() || self.stdin_default
    }

    /// The path to open; `-` for standard input.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.file.map(Path::to_owned).or_else(|| self.stdin_default.then(|| PathBuf::from("-")))
    }
}

/// The failure for a secret file that group or others can read, or `None`.
pub(crate) fn loose_permissions(input: &Input, what: &str) -> Option<Failure> {
    use std::os::unix::fs::MetadataExt;
    let metadata = input.file().metadata().ok()?;
    // systemd opens its credentials to one user by an ACL, which shows as group bits.
    let systemd = std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|dir| !dir.is_empty() && input.path().is_some_and(|path| path.starts_with(dir)));
    let loose = metadata.is_file() && metadata.mode() & 0o077 != 0 && !systemd;
    loose.then(|| {
        let name = input.name();
        let file = input.path().map_or_else(|| format!("the file that is {name}"), |path| path.display().to_string());
        Failure::new(ErrorCode::Config, format_args!("{name}: the {what} can be read by group or others"))
            .hint(format!("chmod 600 {file}, or insist with --insecure-perms"))
    })
}
