//! Journal of an upload, kept across runs: one line for each part that was sent.

use crate::dir::Dir;
use crate::upload::StoredPart;
use crate::{CacheError, etags_match};
use loader_model::ResourceName;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Locked journal of the upload of one resource, `{root}/{name}.upload`.
#[derive(Debug)]
pub struct UploadJournal {
    dir: Dir,
    file_name: String,
    display_path: String,
    file: File,
    recorded: Option<RecordedUpload>,
}

/// Upload that an earlier run started.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordedUpload {
    pub(crate) id: String,
    pub(crate) part_len: u64,
    pub(crate) small_sha256: String,
    /// Id of the push, stored in the metadata of the object.
    pub(crate) push_id: String,
    /// True if each part is sent with a checksum.
    pub(crate) has_checksums: bool,
    pub(crate) parts: BTreeMap<u32, SentPart>,
    /// ETag of the object, if the upload is complete.
    pub(crate) completed_etag: Option<String>,
}

/// Part that the store has received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentPart {
    pub(crate) number: u32,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) etag: String,
}

impl SentPart {
    /// Returns true if the store lists this part.
    pub(crate) fn is_listed_in(&self, listed: &[StoredPart]) -> bool {
        let same = |stored: &StoredPart| {
            (stored.number, stored.size) == (self.number, self.size) && etags_match(&stored.etag, &self.etag)
        };
        listed.iter().any(same)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JournalRecord {
    Begin {
        id: String,
        part_len: u64,
        #[serde(rename = "stream")]
        small_sha256: String,
        #[serde(default, rename = "push")]
        push_id: String,
        #[serde(default)]
        has_checksums: bool,
    },
    Part(SentPart),
    Complete {
        etag: String,
    },
}

impl UploadJournal {
    /// Opens and locks the journal of `name` in the directory `root`. A missing directory is
    /// created, accessible to this user alone. `describe_holder` describes the process that holds
    /// the lock of a file.
    ///
    /// # Errors
    /// [`CacheError`] if it cannot be created, opened or read, or if another process is pushing
    /// the same name.
    pub fn open(
        root: &Path,
        name: &ResourceName,
        describe_holder: &dyn Fn(&File) -> Option<String>,
    ) -> Result<Self, CacheError> {
        let display_path = root.join(format!("{name}.upload")).display().to_string();
        Self::open_at(root, name, &display_path, describe_holder)
            .map_err(|cause| CacheError::upload_state(&display_path, cause))
    }

    fn open_at(
        root: &Path,
        name: &ResourceName,
        display_path: &str,
        describe_holder: &dyn Fn(&File) -> Option<String>,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Dir::new(rustix::fs::open(root, flags, Mode::empty())?);
        let dir = root.open_dir(name.folder().split('/').filter(|part| !part.is_empty()), true)?;
        let file_name = format!("{}.upload", name.file_name());
        let mut file = dir.lock(&file_name, &|file| {
            let holder = describe_holder(file).map_or_else(String::new, |holder| format!(": {holder}"));
            let what = format!("another process pushes the same name{holder}");
            Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
        })?;
        let recorded = read_records(&mut file)?;
        Ok(Self { dir, file_name, display_path: display_path.to_owned(), file, recorded })
    }

    pub(crate) fn recorded(&self) -> Option<&RecordedUpload> {
        self.recorded.as_ref()
    }

    /// Starts the journal of an upload that has no parts yet.
    pub(crate) fn record_begin(&mut self, upload: &RecordedUpload) -> Result<(), CacheError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| CacheError::upload_state(&self.display_path, cause))?;
        let RecordedUpload { id, part_len, small_sha256, push_id, has_checksums, .. } = upload.clone();
        self.append(&JournalRecord::Begin { id, part_len, small_sha256, push_id, has_checksums })
    }

    pub(crate) fn record_part(&mut self, part: &SentPart) -> Result<(), CacheError> {
        self.append(&JournalRecord::Part(part.clone()))
    }

    pub(crate) fn record_complete(&mut self, etag: &str) -> Result<(), CacheError> {
        self.append(&JournalRecord::Complete { etag: etag.to_owned() })
    }

    /// Removes the journal after the release was published.
    ///
    /// # Errors
    /// [`CacheError`] if the file cannot be removed.
    pub fn remove(self) -> Result<(), CacheError> {
        self.dir.remove(&self.file_name).map_err(|cause| CacheError::upload_state(&self.display_path, cause.into()))
    }

    /// Appends a record durably.
    fn append(&mut self, record: &JournalRecord) -> Result<(), CacheError> {
        let mut text = serde_json::to_vec(record).unwrap_or_default();
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|cause| CacheError::upload_state(&self.display_path, cause))
    }
}

/// Reads the records up to the first incomplete one and truncates the file there.
fn read_records(file: &mut File) -> io::Result<Option<RecordedUpload>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let (mut recorded, mut good) = (None, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(Ok(parsed)) = line.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
        match (parsed, &mut recorded) {
            (JournalRecord::Begin { id, part_len, small_sha256, push_id, has_checksums }, _) => {
                recorded = Some(RecordedUpload {
                    id,
                    part_len,
                    small_sha256,
                    push_id,
                    has_checksums,
                    ..RecordedUpload::default()
                });
            }
            (JournalRecord::Part(part), Some(recorded)) => drop(recorded.parts.insert(part.number, part)),
            (JournalRecord::Complete { etag }, Some(recorded)) => recorded.completed_etag = Some(etag),
            (_, None) => break,
        }
        good += line.len() as u64;
    }
    file.set_len(good)?;
    file.seek(SeekFrom::Start(good))?;
    Ok(recorded)
}
