//! What is known of an upload across runs: one line for each part that arrived.

use crate::beneath::Folder;
use crate::upload::StoredPart;
use crate::{CacheError, is_same_etag};
use loader_model::ResourceName;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The journal of one name's upload, `{root}/{folder}/{name}.upload`, locked.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    file_name: String,
    place: String,
    file: File,
    known: Option<Known>,
}

/// An upload that an earlier run began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) part_len: u64,
    pub(crate) stream: String,
    /// What the object will say of the push that made it.
    pub(crate) push: String,
    /// True if the store gets a checksum with each part.
    pub(crate) has_checksums: bool,
    pub(crate) parts: BTreeMap<u32, SentPart>,
    /// ETag of the object, where the upload is complete.
    pub(crate) complete: Option<String>,
}

/// A part that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentPart {
    pub(crate) number: u32,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) etag: String,
}

impl SentPart {
    /// True if the store lists this part.
    pub(crate) fn is_in(&self, listed: &[StoredPart]) -> bool {
        let same = |stored: &StoredPart| {
            (stored.number, stored.size) == (self.number, self.size) && is_same_etag(&stored.etag, &self.etag)
        };
        listed.iter().any(same)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin {
        id: String,
        part_len: u64,
        stream: String,
        #[serde(default)]
        push: String,
        #[serde(default)]
        has_checksums: bool,
    },
    Part(SentPart),
    Complete {
        etag: String,
    },
}

impl Journal {
    /// The journal of `name` in the folder `root`, which is made where it does
    /// not exist, for this user alone. `holder` names the process that has locked a file.
    ///
    /// # Errors
    /// [`CacheError`]: it cannot be made, opened or read, or another process
    /// pushes the same name now.
    pub fn open(
        root: &Path,
        name: &ResourceName,
        holder: &dyn Fn(&File) -> Option<String>,
    ) -> Result<Self, CacheError> {
        let place = root.join(format!("{name}.upload")).display().to_string();
        Self::open_at(root, name, &place, holder).map_err(|cause| CacheError::state(&place, cause))
    }

    fn open_at(
        root: &Path,
        name: &ResourceName,
        place: &str,
        holder: &dyn Fn(&File) -> Option<String>,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Folder::new(rustix::fs::open(root, flags, Mode::empty())?);
        let folder = root.below(name.folder().split('/').filter(|part| !part.is_empty()), true)?;
        let file_name = format!("{}.upload", name.file_name());
        let mut file = folder.open_to_write(&file_name)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let by = holder(&file).map_or_else(String::new, |holder| format!(": {holder}"));
                let what = format!("another process pushes the same name{by}");
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
            outcome => outcome?,
        }
        let known = read(&mut file)?;
        Ok(Self { folder, file_name, place: place.to_owned(), file, known })
    }

    pub(crate) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// Begins the journal of an upload that has no parts yet.
    pub(crate) fn begin(&mut self, upload: &Known) -> Result<(), CacheError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| CacheError::state(&self.place, cause))?;
        let Known { id, part_len, stream, push, has_checksums, .. } = upload.clone();
        self.add(&Line::Begin { id, part_len, stream, push, has_checksums })
    }

    pub(crate) fn sent(&mut self, part: &SentPart) -> Result<(), CacheError> {
        self.add(&Line::Part(part.clone()))
    }

    pub(crate) fn complete(&mut self, etag: &str) -> Result<(), CacheError> {
        self.add(&Line::Complete { etag: etag.to_owned() })
    }

    /// Removes the journal: the release is out.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn remove(self) -> Result<(), CacheError> {
        self.folder.remove(&self.file_name).map_err(|cause| CacheError::state(&self.place, cause.into()))
    }

    /// Adds a line, durably.
    fn add(&mut self, line: &Line) -> Result<(), CacheError> {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|cause| CacheError::state(&self.place, cause))
    }
}

/// What the lines say, up to the first that is torn; that one is cut off.
fn read(file: &mut File) -> io::Result<Option<Known>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let (mut known, mut good) = (None, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(Ok(parsed)) = line.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
        match (parsed, &mut known) {
            (Line::Begin { id, part_len, stream, push, has_checksums }, _) => {
                known = Some(Known { id, part_len, stream, push, has_checksums, ..Known::default() });
            }
            (Line::Part(part), Some(known)) => drop(known.parts.insert(part.number, part)),
            (Line::Complete { etag }, Some(known)) => known.complete = Some(etag),
            (_, None) => break,
        }
        good += line.len() as u64;
    }
    file.set_len(good)?;
    file.seek(SeekFrom::Start(good))?;
    Ok(known)
}
