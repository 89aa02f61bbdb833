//! Files of tests: secrets, programs and FIFOs.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use crate::wait_until;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Writes `content` to a file that only its owner may read, as required for secrets.
///
/// # Panics
/// On an I/O error, as every function of this module.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
}

/// Sets the permissions of a file.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns the names in a directory, sorted.
pub fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes a file and the directories above it.
pub fn write_below(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Writes a program that every user may run, and the directories above it.
///
/// Another process writes it. If this process did, a command that another thread starts at the
/// same time could inherit the open file, and the program could not be run (ETXTBSY).
pub fn write_program(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = crate::run(command, content.as_ref());
    assert_eq!(finished.status, 0, "{}", finished.stderr);
}

/// Creates a FIFO that only its owner may use.
pub fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Waits until `reader` has opened a FIFO, and opens the other end.
///
/// # Panics
/// If `reader` ends before that, or like [`wait_until`].
#[track_caller]
pub fn open_fifo(path: &Path, reader: &mut Child) -> File {
    let mut end = None;
    wait_until(&format!("{} has a reader", path.display()), || {
        // Fails with ENXIO until there is a reader.
        end = open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok();
        assert!(end.is_some() || reader.try_wait().unwrap().is_none(), "ended before it opened {}", path.display());
        end.is_some()
    });
    end.unwrap().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_program_runs_as_soon_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bin/program");
        write_program(&path, "#!/bin/sh\nexit 7\n");
        assert_eq!(Command::new(&path).status().unwrap().code(), Some(7));
    }

    #[test]
    fn a_fifo_is_opened_with_its_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        make_fifo(&path);
        let mut reader = Command::new("cat").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
        open_fifo(&path, &mut reader).write_all(b"text").unwrap();
        assert_eq!(reader.wait_with_output().unwrap().stdout, b"text");
    }

    #[test]
    fn a_secret_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        write_secret(&dir.path().join("secret"), "text");
        write_below(&dir.path().join("a/b"), "");
        let mode = fs::metadata(dir.path().join("secret")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, file_names(dir.path())), (0o600, vec!["a".to_owned(), "secret".to_owned()]));
    }
}
