//! What lies in a cache, without touching any of it.

use crate::CacheError;
use loader_model::ResourceName;
use std::io;
use std::path::Path;

/// What a cache folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Whole entries, sorted.
    pub entries: Vec<ResourceName>,
    /// Bytes in all files.
    pub bytes: u64,
    /// Entries of which a fetch was broken off, or is running.
    pub unfinished: Vec<String>,
    /// Entries that were found damaged and moved aside, and are not there again.
    pub damaged: Vec<String>,
    /// What no fetch puts there.
    pub foreign: Vec<String>,
}

impl Survey {
    /// Looks through the cache at `root`; `None` where there is no such folder.
    /// Makes and changes nothing, and follows no link inside.
    ///
    /// # Errors
    /// [`CacheError`]: a folder cannot be read.
    pub fn of(root: &Path) -> Result<Option<Self>, CacheError> {
        let mut survey = Self::default();
        match survey.visit(root, "", 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !root.exists() => return Ok(None),
            Err(error) => return Err(CacheError::cache(&root.display().to_string(), error)),
        }
        survey.entries.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(Some(survey))
    }

    fn visit(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < ResourceName::MAX_DEPTH {
                self.visit(&entry.path(), &format!("{name}/"), depth + 1)?;
            } else if kind.is_file() {
                self.bytes += entry.metadata()?.len();
                self.file(name);
            } else {
                self.foreign.push(name);
            }
        }
        Ok(())
    }

    fn file(&mut self, name: String) {
        let resource = |end: &str| name.strip_suffix(end).and_then(|name| name.parse::<ResourceName>().ok());
        match (resource(".big"), resource(".big.partial"), resource(".big.damaged")) {
            (Some(entry), ..) => self.entries.push(entry),
            (_, Some(_), _) => self.unfinished.push(name),
            (_, _, Some(_)) => self.damaged.push(name),
            // What stands beside them: the small part and the state of a fetch.
            _ if [".small", ".big.state"].iter().any(|end| resource(end).is_some()) => {}
            _ => self.foreign.push(name),
        }
    }
}
