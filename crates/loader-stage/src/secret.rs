//! Secrets: from a file, a descriptor or standard input, never an argument.

use crate::tempfile::dir_of;
use crate::{Failure, Input, access};
use loader_model::ErrorCode;
use rustix::fs::makedev;
use std::fs::Metadata;
use std::io::IsTerminal;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
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
    pub(crate) is_text: bool,
}

impl<'a> SecretFrom<'a> {
    /// The secret that messages call `what`, from a file or a descriptor. Where a
    /// secret is missed, hints take `what` for the flag `--<what>-file`.
    pub fn new(what: &'static str, file: Option<&'a Path>, fd: Option<u32>) -> Self {
        Self { what, file, fd, stdin_default: false, is_text: true }
    }

    /// The same, of any bytes instead of text.
    pub fn binary(mut self) -> Self {
        self.is_text = false;
        self
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

/// Returns the failure for a secret that another user can read or replace.
pub(crate) fn exposed(input: &Input, what: &str) -> Option<Failure> {
    let metadata = input.file().metadata().ok()?;
    let path = access::path_of(input.file()).or_else(|| input.path()?.canonicalize().ok());
    let name = input.name();
    let file = input.path().map_or_else(|| format!("the file that is {name}"), |path| path.display().to_string());
    let refused = |why: &str, hint: &str| {
        let hint = format!("{hint}, or insist with --insecure-perms");
        Some(Failure::new(ErrorCode::Config, format_args!("{name}: the {what} {why}")).hint(hint))
    };
    if metadata.mode() & readable_bits(input, &metadata, path.as_deref()) != 0 {
        return refused("can be read by group or others", &format!("chmod 600 {file}"));
    }
    // Pipes and what is no file have no name that could lead to another one.
    let path = path.filter(|_| metadata.is_file() || metadata.file_type().is_fifo())?;
    if !access::is_own(&metadata) {
        return refused("belongs to another user", &format!("chown {file}"));
    }
    let named = input.path().and_then(|path| Some(dir_of(path).canonicalize().ok()?.join(path.file_name()?)));
    let dir = access::replaceable_in(&path).or_else(|| access::replaceable_in(&named?))?.display().to_string();
    refused(
        "can be replaced by other users",
        &format!("{dir} is open to them: close it (chmod go-w), or move the file"),
    )
}

/// Returns the mode bits that let another user read what is in `input`.
fn readable_bits(input: &Input, metadata: &Metadata, path: Option<&Path>) -> u32 {
    const READABLE_BY_OTHERS: u32 = 0o044;
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_file() {
        // systemd lets one user read its credentials by an access control list, whose
        // mask is shown as the bits of the group.
        let is_credential = path.is_some_and(is_systemd_credential);
        return access::OPEN_TO_OTHERS & if is_credential { !0o070 } else { !0 };
    }
    // A terminal gives each reader its own line, and the null device is empty.
    let is_empty = kind.is_char_device() && metadata.rdev() == makedev(1, 3);
    let is_device = kind.is_char_device() || kind.is_block_device();
    if is_device && !is_empty && !input.file().is_terminal() { READABLE_BY_OTHERS } else { 0 }
}

/// Returns true if the absolute `path`, which has no links and no `..`, is in
/// `$CREDENTIALS_DIRECTORY`.
fn is_systemd_credential(path: &Path) -> bool {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    dir.and_then(|dir| Path::new(&dir).canonicalize().ok()).is_some_and(|dir| path.starts_with(dir))
}
