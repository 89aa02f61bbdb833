//! What a header was and will be, kept beside a file while the one is written
//! over the other.

use crate::layout::{FIXED_LEN, HEADER_LEN};
use crate::{Error, Header};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// First bytes of every journal.
const JOURNAL_MAGIC: &[u8; 8] = b"AZREKEY1";

/// Bytes of the SHA-256 at the end.
const SUM_LEN: usize = 32;

/// Bytes that are the same in both headers and yet go along, where that takes
/// fewer than beginning a new change.
const GAP_MAX: usize = 8;

/// The bytes in which two headers of one length differ. As bytes: `AZREKEY1`, the
/// 40 bytes that both begin with, then for each change its offset and length (u32
/// each), the old bytes and the new ones, and the SHA-256 of all that.
///
/// A journal is durable before the first byte of the file changes, and removed
/// after the last one is durable. So a journal that is not whole says that nothing
/// happened yet, and a whole one can take back what a loss of power cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    fixed: [u8; FIXED_LEN],
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    at: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// How far a write came whose journal is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// The file has its old header.
    Untouched,
    /// The file has its new header.
    Finished,
    /// Some bytes are old and some are new: the old ones must be written again.
    Torn,
    /// The file has bytes that are neither: the journal is of another file.
    Foreign,
}

impl Journal {
    /// Longest journal in bytes: no change is longer than what it says twice, and
    /// what stands around it.
    pub const LEN_MAX: usize = JOURNAL_MAGIC.len() + FIXED_LEN + 2 * *HEADER_LEN.end() + SUM_LEN;

    /// Where the journal of `file` stands while a rewrite is under way: beside it.
    pub fn path_of(file: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(".rekey");
        file.with_file_name(name)
    }

    /// What is wrong with a file of which [`Journal::interrupted`] says what to do.
    pub const HALF_WRITTEN: &str = "its header may be half of one and half of another";

    /// What to do where a change of `file`'s header was interrupted: its journal still
    /// stands beside it, and the header may open with no key. `None` where none does.
    pub fn interrupted(file: Option<&Path>) -> Option<String> {
        let file = file?;
        Self::path_of(&file.canonicalize().ok()?).symlink_metadata().ok()?;
        Some(format!("a change of its keys was interrupted: az-rekey --recover {}", file.display()))
    }

    /// The journal of writing `new` over `old`.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the headers are not of one length and one file.
    pub fn new(old: &Header, new: &Header) -> Result<Self, Error> {
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let fixed = old.first_chunk().filter(|fixed| new.starts_with(*fixed) && old.len() == new.len());
        let fixed = *fixed.ok_or(Error::malformed("headers of two lengths or files"))?;
        let change = |range: Range<usize>| Change {
            at: range.start,
            old: old[range.clone()].to_vec(),
            new: new[range].to_vec(),
        };
        Ok(Self { fixed, changes: differences(old, new).into_iter().map(change).collect() })
    }

    /// What makes the new header of the old one: offsets in the file, and bytes.
    pub fn redo(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.changes.iter().map(|change| (change.at as u64, &change.new[..]))
    }

    /// What makes the old header of any mixture: offsets in the file, and bytes.
    pub fn undo(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.changes.iter().map(|change| (change.at as u64, &change.old[..]))
    }

    /// The journal as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&JOURNAL_MAGIC[..], &self.fixed].concat();
        for Change { at, old, new } in &self.changes {
            bytes.extend((*at as u32).to_be_bytes());
            bytes.extend((old.len() as u32).to_be_bytes());
            bytes.extend(old);
            bytes.extend(new);
        }
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    /// The journal in these bytes; `None` where it was not written to its end.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (text, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_LEN)?)?;
        if Sha256::digest(text)[..] != *sum {
            return None;
        }
        let (fixed, mut rest) = text.strip_prefix(JOURNAL_MAGIC)?.split_first_chunk()?;
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let (at, after) = rest.split_first_chunk()?;
            let (len, after) = after.split_first_chunk()?;
            let [at, len] = [at, len].map(|number| u32::from_be_bytes(*number) as usize);
            let (old, after) = after.split_at_checked(len)?;
            let (new, after) = after.split_at_checked(len)?;
            let end = at.checked_add(len)?;
            if at < FIXED_LEN || end > *HEADER_LEN.end() {
                return None;
            }
            changes.push(Change { at, old: old.to_vec(), new: new.to_vec() });
            rest = after;
        }
        Some(Self { fixed: *fixed, changes })
    }

    /// How far the write came, by the first bytes of the file, at least as many as
    /// its header has.
    pub fn judge(&self, current: &[u8]) -> Leftover {
        let now = |change: &Change| current.get(change.at..change.at + change.old.len()).unwrap_or_default().to_vec();
        let every = |holds: fn(&Change, &[u8]) -> bool| self.changes.iter().all(|change| holds(change, &now(change)));
        let either = |change: &Change, now: &[u8]| {
            let bytes = now.iter().zip(&change.old).zip(&change.new);
            now.len() == change.old.len() && { bytes }.all(|((now, old), new)| now == old || now == new)
        };
        match () {
            () if !current.starts_with(&self.fixed) || !every(either) => Leftover::Foreign,
            () if every(|change, now| now == change.old) => Leftover::Untouched,
            () if every(|change, now| now == change.new) => Leftover::Finished,
            () => Leftover::Torn,
        }
    }
}

/// Where two texts of one length differ, close differences as one.
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
    fn a_journal_stands_beside_its_file() {
        assert_eq!(Journal::path_of(Path::new("a/b.enc")), Path::new("a/.b.enc.rekey"));
    }

    #[test]
    fn differences_have_every_byte_that_differs() {
        let old = [0; 100];
        let at = |places: &[usize]| {
            let mut new = old;
            places.iter().for_each(|at| new[*at] = 1);
            differences(&old, &new).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(at(&[]), []);
        assert_eq!(at(&[40]), [(40, 41)]);
        assert_eq!(at(&[0, 99]), [(0, 1), (99, 100)]);
        assert_eq!(at(&[10, 11 + GAP_MAX]), [(10, 12 + GAP_MAX)]);
        assert_eq!(at(&[10, 12 + GAP_MAX]), [(10, 11), (12 + GAP_MAX, 13 + GAP_MAX)]);
    }

    #[test]
    fn the_longest_journal_has_its_length() {
        let len = *HEADER_LEN.end() - FIXED_LEN;
        let changes = vec![Change { at: FIXED_LEN, old: vec![0; len], new: vec![1; len] }];
        let longest = Journal { fixed: [0; _], changes }.to_bytes();
        // The fixed part stands there once, and a change has its place and its length.
        assert_eq!(longest.len() + 2 * FIXED_LEN - 8, Journal::LEN_MAX);
        assert!(Journal::from_bytes(&longest).is_some());
    }

    #[test]
    fn a_change_outside_of_a_header_is_refused() {
        let end = *HEADER_LEN.end();
        let (inside, outside) = ([(FIXED_LEN, 1), (end - 2, 2)], [(FIXED_LEN - 1, 2), (end - 1, 2), (end, 1)]);
        let is_read = |(at, len): (usize, usize)| {
            let changes = vec![Change { at, old: vec![0; len], new: vec![1; len] }];
            Journal::from_bytes(&Journal { fixed: [0; _], changes }.to_bytes()).is_some()
        };
        assert!(inside.into_iter().all(is_read) && !outside.into_iter().any(is_read));
    }
}
