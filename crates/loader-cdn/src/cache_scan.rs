//! Read-only listing of a cache directory.

use crate::CacheError;
use loader_model::ResourceName;
use std::io;
use std::path::Path;

/// Contents of a cache directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheScan {
    /// Names of complete entries, sorted.
    pub entries: Vec<ResourceName>,
    /// Total size of all files in bytes.
    pub bytes: u64,
    /// Files of unfinished entries: their fetch was interrupted or is running.
    pub unfinished: Vec<String>,
    /// Files of damaged entries that were moved aside and not yet replaced.
    pub damaged: Vec<String>,
    /// Files that were not created by a fetch.
    pub foreign: Vec<String>,
}

impl CacheScan {
    /// Lists the cache at `root`. Returns `None` if the directory does not exist. Creates and
    /// changes nothing, and follows no symbolic link inside.
    ///
    /// # Errors
    /// [`CacheError`] if a directory cannot be read.
    pub fn read(root: &Path) -> Result<Option<Self>, CacheError> {
        let mut scan = Self::default();
        match scan.scan_dir(root, "", 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !root.exists() => return Ok(None),
            Err(error) => return Err(CacheError::cache(&root.display().to_string(), error)),
        }
        scan.entries.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(Some(scan))
    }

    fn scan_dir(&mut self, dir: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < ResourceName::MAX_DEPTH {
                self.scan_dir(&entry.path(), &format!("{name}/"), depth + 1)?;
            } else if kind.is_file() {
                self.bytes += entry.metadata()?.len();
                self.classify_file(name);
            } else {
                self.foreign.push(name);
            }
        }
        Ok(())
    }

    fn classify_file(&mut self, name: String) {
        let resource = |suffix: &str| name.strip_suffix(suffix).and_then(|name| name.parse::<ResourceName>().ok());
        match (resource(".big"), resource(".big.partial"), resource(".big.damaged")) {
            (Some(entry), ..) => self.entries.push(entry),
            (_, Some(_), _) => self.unfinished.push(name),
            (_, _, Some(_)) => self.damaged.push(name),
            // Companion files of entries: the small part and the state of a fetch.
            _ if [".small", ".big.state"].iter().any(|suffix| resource(suffix).is_some()) => {}
            _ => self.foreign.push(name),
        }
    }
}
