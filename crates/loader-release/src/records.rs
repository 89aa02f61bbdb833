//! The newest release of each name that this device has unlocked.
//!
//! A record is a file `release-<H>`: H is the first 16 bytes of the SHA-256 of the name, as
//! hexadecimal digits. A filter that has accepted a newer release writes `release-<H>.new`.
//! Once the images of that release are loaded, the caller renames it (scripts/unlock), so
//! that a release that could not be loaded does not prevent the use of the previous one.

use crate::Accepted;
use loader_stage::{Content, ErrorCode, Failure, OutputArgs, Stage, open_regular};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Maximum length of a record in bytes.
const RECORD_MAX: u64 = 64 * 1024;

/// Version of the records that this program writes and reads.
const VERSION: u32 = 1;

/// Directory with the records.
#[derive(Clone, Debug)]
pub struct ReleaseRecords(PathBuf);

/// Content of a record: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u32,
    name: String,
    release: u64,
    release_id: String,
}

impl ReleaseRecords {
    /// Returns the records in `dir`. They are read when content is opened.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Returns the number of the newest release of `name` that was unlocked; `None` if there
    /// was none.
    ///
    /// # Errors
    /// `config` if the record cannot be read, is invalid, or another user can change it.
    pub fn newest(&self, name: &str) -> Result<Option<u64>, Failure> {
        let path = self.path(name);
        let config = |what: String| {
            Failure::new(ErrorCode::Config, format_args!("{}: {what}", path.display()))
                .hint("only if this device may unlock an older release again, remove the file".to_owned())
        };
        // A link to nothing is not the absence of a record.
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let unreadable = |error| config(format!("the record of the newest release cannot be read: {error}"));
        let file = open_regular(&path).map_err(unreadable)?;
        if loader_stage::is_changeable(&file).map_err(unreadable)? {
            return Err(config("other users can change the record of the newest release".to_owned()));
        }
        let mut text = Vec::new();
        file.take(RECORD_MAX).read_to_end(&mut text).map_err(unreadable)?;
        let record = serde_json::from_slice::<Record>(&text).ok();
        let record = record.filter(|record| record.v == VERSION && record.name == name);
        let record = record.ok_or_else(|| config("not a valid record of the newest release".to_owned()))?;
        Ok(Some(record.release))
    }

    /// Writes the record of `accepted` as `release-<H>.new`, on the disk before it returns. Does
    /// nothing if it is not newer than the record.
    ///
    /// # Errors
    /// Those of [`ReleaseRecords::newest`] and of writing.
    pub fn propose(&self, stage: &Stage, accepted: &Accepted) -> Result<(), Failure> {
        let (Some(release), Some(release_id)) =
            (accepted.release, accepted.release_id.filter(|_| accepted.is_signed()))
        else {
            return Ok(());
        };
        let name = accepted.name.as_deref().unwrap_or_default();
        if self.newest(name)?.is_some_and(|newest| newest >= release) {
            return Ok(());
        }
        let record = Record { v: VERSION, name: name.to_owned(), release, release_id: release_id.to_string() };
        let line = serde_json::to_string(&record).map_err(|error| Failure::new(ErrorCode::Bug, error))? + "\n";
        let args = OutputArgs { output: Some(self.path(name).with_extension("new")), force: false };
        // Mode 0600, like a secret.
        let mut output = stage.output(&args, Content::Secret)?;
        output.put(line.as_bytes())?;
        output.commit().map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        let digest = Sha256::digest(name.as_bytes());
        self.0.join(format!("release-{}", hex::encode(&digest[..16])))
    }
}
