//! Journal for rewriting a header in place.

use crate::layout::{FIXED_LEN, HEADER_LEN};
use crate::{Error, Header};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// First bytes of every journal.
const JOURNAL_MAGIC: &[u8; 8] = b"AZREKEY1";

/// Length in bytes of the SHA-256 at the end.
const DIGEST_LEN: usize = 32;

/// Maximum number of equal bytes between two differences that are recorded as one change,
/// because a separate change needs 8 bytes for offset and length.
const GAP_MAX: usize = 8;

/// Record of the bytes in which two headers of the same length differ.
///
/// Encoded as `AZREKEY1`; the common first 40 bytes of the headers; for each change its
/// offset and length (4 bytes each, big-endian), the old bytes and the new bytes; and the
/// SHA-256 of all these bytes.
///
/// The journal is written next to the file. It is durable before the first byte of the
/// file changes, and removed after the last byte is durable. So an incomplete journal means
/// that the file has not changed, and with a complete journal an interrupted change can be
/// reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderJournal {
    fixed: [u8; FIXED_LEN],
    changes: Vec<ByteChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ByteChange {
    offset: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// State of a file with a leftover journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryState {
    /// The file has its old header.
    Unchanged,
    /// The file has its new header.
    Complete,
    /// The header is a mixture: the old bytes must be restored.
    Mixed,
    /// The header has other bytes: the journal belongs to another file.
    OtherFile,
}

impl HeaderJournal {
    /// Maximum length of a journal in bytes. Offsets and lengths need no additional space:
    /// the changes do not include the fixed part, and they are more than `GAP_MAX` bytes
    /// apart.
    pub const LEN_MAX: usize = JOURNAL_MAGIC.len() + FIXED_LEN + 2 * *HEADER_LEN.end() + DIGEST_LEN;

    /// Returns the path of the journal of `file`, in the same directory.
    pub fn path_for(file: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(".rekey");
        file.with_file_name(name)
    }

    /// Error text for a file that has a [`HeaderJournal::recovery_hint`].
    pub const INTERRUPTED: &str = "its header may be a mixture of two headers";

    /// Returns a hint how to recover `file` if it has a journal: a change of its header was
    /// interrupted, so that it may not open with any key. Returns `None` without a journal.
    pub fn recovery_hint(file: Option<&Path>) -> Option<String> {
        let file = file?;
        Self::path_for(&file.canonicalize().ok()?).symlink_metadata().ok()?;
        Some(format!("a change of its keys was interrupted: az-rekey --recover {}", file.display()))
    }

    /// Creates the journal for replacing `old` by `new`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the headers have different lengths or belong to different
    /// files.
    pub fn new(old: &Header, new: &Header) -> Result<Self, Error> {
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let fixed = old.first_chunk().filter(|fixed| new.starts_with(*fixed) && old.len() == new.len());
        let fixed =
            *fixed.ok_or(Error::malformed("the headers have different lengths or belong to different files"))?;
        let change = |range: Range<usize>| ByteChange {
            offset: range.start,
            old: old[range.clone()].to_vec(),
            new: new[range].to_vec(),
        };
        Ok(Self { fixed, changes: differences(old, new).into_iter().map(change).collect() })
    }

    /// Returns the writes that produce the new header: offsets in the file, and bytes.
    pub fn redo(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.changes.iter().map(|change| (change.offset as u64, &change.new[..]))
    }

    /// Returns the writes that restore the old header: offsets in the file, and bytes.
    pub fn undo(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.changes.iter().map(|change| (change.offset as u64, &change.old[..]))
    }

    /// Encodes the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&JOURNAL_MAGIC[..], &self.fixed].concat();
        for ByteChange { offset, old, new } in &self.changes {
            bytes.extend((*offset as u32).to_be_bytes());
            bytes.extend((old.len() as u32).to_be_bytes());
            bytes.extend(old);
            bytes.extend(new);
        }
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    /// Decodes a journal. Returns `None` if it is incomplete or invalid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_LEN)?)?;
        if Sha256::digest(content)[..] != *digest {
            return None;
        }
        let (fixed, mut rest) = content.strip_prefix(JOURNAL_MAGIC)?.split_first_chunk()?;
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let (offset, after) = rest.split_first_chunk()?;
            let (len, after) = after.split_first_chunk()?;
            let [offset, len] = [offset, len].map(|number| u32::from_be_bytes(*number) as usize);
            let (old, after) = after.split_at_checked(len)?;
            let (new, after) = after.split_at_checked(len)?;
            let end = offset.checked_add(len)?;
            if offset < FIXED_LEN || end > *HEADER_LEN.end() {
                return None;
            }
            changes.push(ByteChange { offset, old: old.to_vec(), new: new.to_vec() });
            rest = after;
        }
        Some(Self { fixed: *fixed, changes })
    }

    /// Returns the state of the file that starts with `current`, which has at least the
    /// bytes of the header.
    pub fn recovery_state(&self, current: &[u8]) -> RecoveryState {
        let every = |check: fn(&ByteChange, &[u8]) -> bool| {
            self.changes.iter().all(|change| {
                let range = change.offset..change.offset + change.old.len();
                current.get(range).is_some_and(|bytes| check(change, bytes))
            })
        };
        let is_old_or_new = |change: &ByteChange, bytes: &[u8]| {
            let mut bytes = bytes.iter().zip(change.old.iter().zip(&change.new));
            bytes.all(|(byte, (old, new))| byte == old || byte == new)
        };
        if !current.starts_with(&self.fixed) || !every(is_old_or_new) {
            RecoveryState::OtherFile
        } else if every(|change, bytes| bytes == change.old) {
            RecoveryState::Unchanged
        } else if every(|change, bytes| bytes == change.new) {
            RecoveryState::Complete
        } else {
            RecoveryState::Mixed
        }
    }
}

/// Returns the ranges in which `old` and `new`, which have the same length, differ. Ranges
/// with up to [`GAP_MAX`] equal bytes between them are merged.
fn differences(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in (0..old.len()).filter(|at| old[*at] != new[*at]) {
        match ranges.last_mut() {
            Some(last) if at - last.end <= GAP_MAX => last.end = at + 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_is_in_the_directory_of_the_file() {
        assert_eq!(HeaderJournal::path_for(Path::new("a/b.enc")), Path::new("a/.b.enc.rekey"));
    }

    #[test]
    fn differences_contain_every_changed_byte() {
        let old = [0; 100];
        let ranges = |offsets: &[usize]| {
            let mut new = old;
            offsets.iter().for_each(|offset| new[*offset] = 1);
            differences(&old, &new).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[40]), [(40, 41)]);
        assert_eq!(ranges(&[0, 99]), [(0, 1), (99, 100)]);
        assert_eq!(ranges(&[10, 11 + GAP_MAX]), [(10, 12 + GAP_MAX)]);
        assert_eq!(ranges(&[10, 12 + GAP_MAX]), [(10, 11), (12 + GAP_MAX, 13 + GAP_MAX)]);
    }

    #[test]
    fn longest_journal_is_within_the_maximum() {
        let len = *HEADER_LEN.end() - FIXED_LEN;
        let changes = vec![ByteChange { offset: FIXED_LEN, old: vec![0; len], new: vec![1; len] }];
        let longest = HeaderJournal { fixed: [0; _], changes }.to_bytes();
        // The fixed part is there once instead of twice more, and a change has 8 bytes for offset and length.
        assert_eq!(longest.len() + 2 * FIXED_LEN - 8, HeaderJournal::LEN_MAX);
        assert!(HeaderJournal::from_bytes(&longest).is_some());
    }

    #[test]
    fn change_outside_of_a_header_is_refused() {
        let end = *HEADER_LEN.end();
        let (inside, outside) = ([(FIXED_LEN, 1), (end - 2, 2)], [(FIXED_LEN - 1, 2), (end - 1, 2), (end, 1)]);
        let is_accepted = |(offset, len): (usize, usize)| {
            let changes = vec![ByteChange { offset, old: vec![0; len], new: vec![1; len] }];
            HeaderJournal::from_bytes(&HeaderJournal { fixed: [0; _], changes }.to_bytes()).is_some()
        };
        assert!(inside.into_iter().all(is_accepted) && !outside.into_iter().any(is_accepted));
    }
}
