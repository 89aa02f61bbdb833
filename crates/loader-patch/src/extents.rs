//! Which file of the old content corresponds to a position in the new one.

use loader_archive::{FileExtent, FileWalk};
use std::collections::HashMap;

/// Files of the old content by their name.
#[derive(Debug, Default)]
pub(crate) struct OldFiles {
    /// Offset and length of each file with a name, in their order; the key is a hash.
    by_name: HashMap<u64, Vec<(u64, u64)>>,
    len: u64,
}

impl OldFiles {
    pub(crate) fn add(&mut self, file: &FileExtent) {
        self.by_name.entry(key(&file.name)).or_default().push((file.offset, file.len));
    }

    /// Sets the length of the whole content in bytes.
    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = len;
    }
}

fn key(name: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(name)
}

/// A file of the new content, and the file of the old one with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    new: u64,
    new_len: u64,
    old: u64,
    old_len: u64,
}

/// Maps positions in the new content to positions in the old one.
#[derive(Debug, Default)]
pub(crate) struct FileMap {
    /// In the order of the new content. A layer comes before the files in it.
    pairs: Vec<Pair>,
    /// How often each name was used.
    used: HashMap<u64, usize>,
    new_len: u64,
    old_len: u64,
}

/// A position in the old content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) old: u64,
    /// True if both files have the same length, so that the position is probably exact.
    pub(crate) is_same_len: bool,
}

impl FileMap {
    pub(crate) fn new(old: &OldFiles, new_len: u64) -> Self {
        Self { new_len, old_len: old.len, ..Self::default() }
    }

    pub(crate) fn add(&mut self, old: &OldFiles, file: &FileExtent) {
        let key = key(&file.name);
        let Some(found) = old.by_name.get(&key) else { return };
        let used = self.used.entry(key).or_default();
        // The same name may occur in several layers, usually in the same order.
        let Some((start, len)) = found.get(*used).or(found.last()) else { return };
        *used += 1;
        self.pairs.push(Pair { new: file.offset, new_len: file.len, old: *start, old_len: *len });
    }

    /// Returns true if no file is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the position in the old content that corresponds to `at`. A position outside of all
    /// files has none, unless no file is known at all.
    pub(crate) fn map(&self, at: u64) -> Option<Mapped> {
        if self.pairs.is_empty() {
            let is_same_len = self.new_len == self.old_len;
            return (self.new_len > 0).then(|| Mapped { old: scale(at, self.new_len, self.old_len), is_same_len });
        }
        let end = self.pairs.partition_point(|pair| pair.new <= at);
        // The innermost file that contains the position is among the last ones: a file, then its layer.
        let pair = self.pairs[..end].iter().rev().take(2).find(|pair| at - pair.new < pair.new_len)?;
        let is_same_len = pair.new_len == pair.old_len;
        Some(Mapped { old: pair.old + scale(at - pair.new, pair.new_len, pair.old_len), is_same_len })
    }
}

/// Returns `at * old_len / new_len`.
fn scale(at: u64, new_len: u64, old_len: u64) -> u64 {
    if new_len == old_len {
        return at;
    }
    (u128::from(at) * u128::from(old_len) / u128::from(new_len.max(1))) as u64
}

/// Passes the files in the bytes that are pushed to `found`.
pub(crate) fn walk(walk: &mut FileWalk, bytes: &[u8], mut found: impl FnMut(&FileExtent)) {
    walk.push(bytes, &mut |file| found(&file));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, offset: u64, len: u64) -> FileExtent {
        FileExtent { name: name.into(), offset, len }
    }

    #[test]
    fn positions_map_by_name_and_scale() {
        let mut old = OldFiles::default();
        old.set_len(10_000);
        for extent in [file("a", 100, 50), file("layer", 1000, 5000), file("b", 1512, 1000), file("a", 4000, 10)] {
            old.add(&extent);
        }
        let mut map = FileMap::new(&old, 20_000);
        let new = [file("layer-2", 0, 9000), file("b", 512, 2000), file("a", 3000, 50), file("a", 4000, 10)];
        new.iter().for_each(|extent| map.add(&old, extent));
        assert_eq!(map.map(1512), Some(Mapped { old: 2012, is_same_len: false }));
        assert_eq!(map.map(3010), Some(Mapped { old: 110, is_same_len: true }));
        assert_eq!(map.map(4005), Some(Mapped { old: 4005, is_same_len: true }));
        assert_eq!(map.map(2600), None);
        assert_eq!(FileMap::new(&old, 20_000).map(400).unwrap().old, 200);
    }
}
