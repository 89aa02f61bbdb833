//! Several files that appear together or not at all.

use loader_stage::{Failure, Output};
use std::fs;
use std::path::PathBuf;

/// A file that will appear at its path.
pub(crate) struct Pending {
    path: PathBuf,
    pub(crate) output: Output,
}

impl Pending {
    pub(crate) fn new(path: PathBuf) -> Result<Self, Failure> {
        let output = Output::file(&path)?;
        Ok(Self { path, output })
    }
}

/// Makes all of `files` durable, then gives them their names. Where the system
/// refuses one, those named before it are removed: a part of a set must not look
/// like the set.
pub(crate) fn commit_all(mut files: Vec<Pending>) -> Result<(), Failure> {
    // What takes long and what fails for want of space comes before the first name.
    for file in &mut files {
        let synced = file.output.as_file().sync_all();
        synced.map_err(|error| Failure::io(file.path.display(), &error))?;
    }
    let mut named = Vec::new();
    for file in files {
        if let Err(failure) = file.output.commit() {
            // The failure is what the user must hear of; a file that cannot be
            // removed now is still a whole one.
            named.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(failure);
        }
        named.push(file.path);
    }
    Ok(())
}
