//! Sources of secrets: a file, a descriptor or standard input, never an argument.

use crate::atomic_file::dir_of;
use crate::{Failure, Input, access, process};
use loader_model::ErrorCode;
use rustix::fs::makedev;
use std::fs::Metadata;
use std::io::{ErrorKind, IsTerminal};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Maximum length of a secret in bytes.
pub(crate) const MAX_SECRET_LEN: usize = 64 * 1024;

/// Source of a secret.
#[derive(Clone, Copy, Debug)]
pub struct SecretSource<'a> {
    pub(crate) what: &'static str,
    pub(crate) file: Option<&'a Path>,
    pub(crate) fd: Option<u32>,
    pub(crate) stdin_default: bool,
    pub(crate) is_text: bool,
}

impl<'a> SecretSource<'a> {
    /// Creates the source for the secret that messages call `what`. If the secret is missing,
    /// the hint names the option `--<what>-file`.
    pub fn new(what: &'static str, file: Option<&'a Path>, fd: Option<u32>) -> Self {
        Self { what, file, fd, stdin_default: false, is_text: true }
    }

    /// Accepts any bytes instead of only text.
    pub fn binary(mut self) -> Self {
        self.is_text = false;
        self
    }

    /// Uses standard input if neither a file nor a descriptor is given.
    pub fn or_stdin(mut self) -> Self {
        self.stdin_default = true;
        self
    }

    /// Returns true if the secret has a source.
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.fd.is_some() || self.stdin_default
    }

    /// Returns the path to open; `-` for standard input.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.file.map(Path::to_owned).or_else(|| self.stdin_default.then(|| PathBuf::from("-")))
    }
}

/// Reads a secret of at most 64 KiB for a program that is not a stage. Returns `None` if it has
/// no source.
///
/// # Errors
/// `config` if another user can read or replace it; `no_input` if it is empty; `malformed` for
/// text in another encoding than UTF-8; `not_found` or `io` if it cannot be read.
pub fn read_secret(from: SecretSource<'_>, insecure_perms: bool) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    process::lock_memory();
    let mut input = match (from.fd, from.path()) {
        (Some(0), _) => Input::stdin()?,
        (Some(fd), _) => Input::descriptor(fd)?,
        (None, Some(path)) if path.as_os_str() == "-" => Input::stdin()?,
        (None, Some(path)) => Input::open(&path)?,
        (None, None) => return Ok(None),
    };
    check_permissions(&input, from.what, insecure_perms)?;
    let secret = if from.is_text { input.read_text(MAX_SECRET_LEN)? } else { input.read_all(MAX_SECRET_LEN)? };
    if secret.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::no_input(from.what, input.name()));
    }
    Ok(Some(secret))
}

/// Checks that no other user can read or replace the secret `what` in `input`.
fn check_permissions(input: &Input, what: &str, insecure_perms: bool) -> Result<(), Failure> {
    permission_failure(input, what).filter(|_| !insecure_perms).map_or(Ok(()), Err)
}

/// Returns the failure for a secret that another user can read or replace.
pub(crate) fn permission_failure(input: &Input, what: &str) -> Option<Failure> {
    let metadata = input.file().metadata().ok()?;
    let path = actual_path(input);
    if metadata.mode() & readable_bits(input, &metadata, path.as_deref()) != 0 {
        return refused(input, what, "can be read by group or others", &format!("run chmod 600 {}", shown_file(input)));
    }
    replacement_failure(input, what)
}

/// Returns the failure for a file that another user can change or replace.
pub(crate) fn change_failure(input: &Input, what: &str) -> Option<Failure> {
    let metadata = input.file().metadata().ok()?;
    if metadata.is_file() && metadata.mode() & access::WRITABLE_BY_OTHERS != 0 {
        return refused(input, what, "can be changed by other users", &format!("run chmod go-w {}", shown_file(input)));
    }
    replacement_failure(input, what)
}

/// Returns the failure for the directory `dir`, named `what`, in which another user can change or
/// replace files. There is none if `dir` does not exist.
pub(crate) fn dir_failure(dir: &Path, what: &str) -> Option<Failure> {
    let failure = |why: &str| Failure::new(ErrorCode::Config, format_args!("{}: the {what} {why}", dir.display()));
    let actual = match dir.canonicalize() {
        Ok(actual) if actual.is_dir() => actual,
        // A link to nothing is not the absence of the directory.
        Err(_) if dir.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) => return None,
        _ => return Some(failure("is not a directory that can be read")),
    };
    let named = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let replaceable = [actual, named].iter().find_map(|dir| access::replaceable_in(&dir.join("file")))?;
    let hint = format!("run chmod go-w {}, use another directory, or use --insecure-perms", replaceable.display());
    Some(failure("can be changed by other users").hint(hint))
}

fn actual_path(input: &Input) -> Option<PathBuf> {
    access::path_of(input.file()).or_else(|| input.path()?.canonicalize().ok())
}

fn shown_file(input: &Input) -> String {
    let name = input.name();
    input.path().map_or_else(|| format!("the file that is {name}"), |path| path.display().to_string())
}

fn refused(input: &Input, what: &str, why: &str, hint: &str) -> Option<Failure> {
    let hint = format!("{hint}, or use --insecure-perms");
    Some(Failure::new(ErrorCode::Config, format_args!("{}: the {what} {why}", input.name())).hint(hint))
}

fn replacement_failure(input: &Input, what: &str) -> Option<Failure> {
    let metadata = input.file().metadata().ok()?;
    let path = actual_path(input);
    // An anonymous pipe belongs to the user that created it, which may differ after sudo. A file
    // is checked even if its owner has removed it in the meantime.
    let is_checked = metadata.is_file() || metadata.file_type().is_fifo() && path.is_some();
    if is_checked && !access::is_own(&metadata) {
        return refused(input, what, "belongs to another user", &format!("run chown on {}", shown_file(input)));
    }
    // Removed files, anonymous pipes and devices cannot be replaced under their name.
    let path = path.filter(|_| is_checked)?;
    let named = input.path().and_then(|path| Some(dir_of(path).canonicalize().ok()?.join(path.file_name()?)));
    let dir = access::replaceable_in(&path).or_else(|| access::replaceable_in(&named?))?.display().to_string();
    refused(
        input,
        what,
        "can be replaced by other users",
        &format!("run chmod go-w {dir}, move the file to another directory"),
    )
}

/// Returns the mode bits that would let another user read the content of `input`.
fn readable_bits(input: &Input, metadata: &Metadata, path: Option<&Path>) -> u32 {
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_file() {
        // systemd grants access to its credentials by an access control list, whose mask
        // appears as the group bits of the mode.
        let is_credential = path.is_some_and(is_systemd_credential);
        return access::OPEN_TO_OTHERS & if is_credential { !0o070 } else { !0 };
    }
    // Other readers of a terminal do not get the same line, and the null device is empty.
    let is_empty = kind.is_char_device() && metadata.rdev() == makedev(1, 3);
    if access::is_device(metadata) && !is_empty && !input.file().is_terminal() { access::READABLE_BY_OTHERS } else { 0 }
}

/// Returns true if `path`, which must be canonical, is in `$CREDENTIALS_DIRECTORY`.
fn is_systemd_credential(path: &Path) -> bool {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    dir.and_then(|dir| Path::new(&dir).canonicalize().ok()).is_some_and(|dir| path.starts_with(dir))
}
