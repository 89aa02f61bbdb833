//! Equal content in the old and the new release, found by content-defined chunks.

use crate::chunks::{LEN_MAX, chunk_id, chunk_len};
use crate::extents::{FileMap, OldFiles, walk};
use crate::{Error, OldContent};
use loader_archive::FileWalk;
use std::collections::HashMap;
use std::io;

/// Number of bytes that are read together.
const READ_LEN: usize = 1024 * 1024;

/// Bytes of the new content that are probably equal to bytes of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) new: u64,
    pub(crate) old: u64,
    pub(crate) len: u64,
}

/// Calls `chunk` with the offset and the bytes of each chunk of `content`, and `read` with all
/// bytes.
fn for_each_chunk(
    content: &mut impl OldContent,
    mut read: impl FnMut(&[u8]),
    mut chunk: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let len = content.content_len();
    let (mut buffer, mut start, mut filled) = (vec![0; READ_LEN + LEN_MAX], 0, 0);
    let mut at = 0;
    loop {
        let unread = len - at - filled as u64;
        if filled < LEN_MAX && unread > 0 {
            buffer.copy_within(start..start + filled, 0);
            start = 0;
            let missing = unread.min((buffer.len() - filled) as u64) as usize;
            let new = &mut buffer[filled..filled + missing];
            content.read_at(at + filled as u64, new)?;
            read(new);
            filled += missing;
        }
        if filled == 0 {
            return Ok(());
        }
        let taken = chunk_len(&buffer[start..start + filled]);
        chunk(at, &buffer[start..start + taken]);
        start += taken;
        filled -= taken;
        at += taken as u64;
    }
}

/// Chunks and files of the old content. Needs about 40 bytes for each chunk of 8 KiB, and 60 bytes
/// for each file.
#[derive(Debug, Default)]
pub(crate) struct OldIndex {
    /// Offset and id of each chunk, in their order.
    chunks: Vec<(u64, u64)>,
    /// Number of the first chunk with an id.
    by_id: HashMap<u64, u32>,
    pub(crate) files: OldFiles,
}

impl OldIndex {
    /// Reads all of `old`.
    ///
    /// # Errors
    /// [`Error::Old`].
    pub(crate) fn build(old: &mut impl OldContent) -> Result<Self, Error> {
        let mut index = Self::default();
        let (mut files, mut archive) = (OldFiles::default(), FileWalk::default());
        files.set_len(old.content_len());
        let add = |offset, chunk: &[u8]| {
            let id = chunk_id(chunk);
            index.by_id.entry(id).or_insert(index.chunks.len() as u32);
            index.chunks.push((offset, id));
        };
        for_each_chunk(old, |bytes| walk(&mut archive, bytes, |file| files.add(file)), add).map_err(Error::Old)?;
        Ok(Self { files, ..index })
    }

    /// Returns the matches in `new`, in their order, and the map of its files.
    ///
    /// # Errors
    /// [`Error::New`].
    pub(crate) fn find(&self, new: &mut impl OldContent) -> Result<(Vec<Match>, FileMap), Error> {
        let mut map = FileMap::new(&self.files, new.content_len());
        let mut archive = FileWalk::default();
        let mut matches: Vec<Match> = Vec::new();
        // Number of the chunk that would continue the last match.
        let mut next = None;
        let add = |offset: u64, chunk: &[u8]| {
            let id = chunk_id(chunk);
            let is_at = |index: &usize| self.chunks.get(*index).is_some_and(|(_, found)| *found == id);
            let continued = next.filter(is_at);
            let Some(found) = continued.or_else(|| self.by_id.get(&id).map(|index| *index as usize)) else {
                next = None;
                return;
            };
            next = Some(found + 1);
            let (old, len) = (self.chunks[found].0, chunk.len() as u64);
            match matches.last_mut() {
                Some(last) if last.new + last.len == offset && last.old + last.len == old => last.len += len,
                _ => matches.push(Match { new: offset, old, len }),
            }
        };
        let read = |bytes: &[u8]| walk(&mut archive, bytes, |file| map.add(&self.files, file));
        for_each_chunk(new, read, add).map_err(Error::New)?;
        Ok((matches, map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_content() {
        let mut state = 9_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let content: Vec<u8> = std::iter::repeat_with(next).take(3 * READ_LEN + 777).collect();
        for content in [&content[..], &content[..1], &[], &content[..READ_LEN + LEN_MAX]] {
            let (mut all, mut read, mut at) = (Vec::<u8>::new(), 0, 0);
            let collect = |offset, chunk: &[u8]| {
                assert_eq!(offset, at);
                at += chunk.len() as u64;
                all.extend(chunk);
            };
            for_each_chunk(&mut &content[..], |bytes| read += bytes.len(), collect).unwrap();
            assert!(all == content && read == content.len());
        }
        let (matches, _) = {
            let new = [b"start", &content[5000..]].concat();
            OldIndex::build(&mut &content[..]).unwrap().find(&mut &new[..]).unwrap()
        };
        let matched: u64 = matches.iter().map(|found| found.len).sum();
        assert!(matches.len() < 10 && matched + 200_000 > content.len() as u64, "{matches:?}");
        assert!(matches.iter().all(|found| found.old == found.new + 4995));
    }
}
