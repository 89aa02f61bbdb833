//! Reading and atomic replacement of the files of the state.

use super::StateError;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

/// Maximum size in bytes of a user, a key, a fragment or the settings.
pub(super) const SMALL_MAX: u64 = 64 * 1024;

/// Prefix of the names of temporary files. No file of the state begins with it.
pub(super) const TEMPORARY: &str = ".new-";

/// Reads a file of at most `max` bytes. Returns `None` if it does not exist.
pub(super) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |error| StateError::Io(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(StateError::Malformed(path.to_owned(), "too large"));
    }
    Ok(Some(bytes))
}

/// Replaces a file atomically: a reader, also after a crash, finds the old content or the
/// new one. The file has mode 0600 and is durable when this function returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |error| StateError::Io(path.to_owned(), error);
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir).map_err(failed)?;
    give_to_owner_of(dir, temporary.as_file()).map_err(failed)?;
    temporary.write_all(bytes).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    sync_dir(dir).map_err(failed)
}

/// Gives a file that root creates to the owner of its directory: an administrator changes the
/// directory as root, and the server runs as another user.
pub(crate) fn give_to_owner_of(dir: &Path, file: &File) -> std::io::Result<()> {
    let (dir, own) = (dir.metadata()?, file.metadata()?);
    if own.uid() == 0 && dir.uid() != 0 { fchown(file, Some(dir.uid()), Some(dir.gid())) } else { Ok(()) }
}

/// Removes a file. Returns false if there is none.
pub(super) fn remove(path: &Path) -> Result<bool, StateError> {
    let failed = |error| StateError::Io(path.to_owned(), error);
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir).map_err(failed).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Makes the names in a directory durable. Some filesystems cannot do that; their names are
/// durable as soon as the filesystem decides.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Err(error),
        _ => Ok(()),
    }
}

/// Returns the names of the files in a directory, sorted, without temporary ones.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::Io(dir.to_owned(), error)),
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            (!name.starts_with(TEMPORARY) && entry.path().is_file()).then_some(name)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Returns `value` as indented JSON with a line end.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path, 9).unwrap(), None);
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"new");
        assert!(matches!(read(&path, 2), Err(StateError::Malformed(..))));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(dir.path().join(".new-left"), "").unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["file"]);
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
    }
}
