//! Positions of the files in an archive, down to the files in its layers.

use crate::tar::{BLOCK_LEN, Flaw, Header, Member, Parser, Rules, Visitor, is_file};

/// Position of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// Name as stored. The name of a file in a layer does not contain that of the layer.
    pub name: Vec<u8>,
    /// Offset of its content in bytes.
    pub offset: u64,
    /// Length of its content in bytes, not 0.
    pub len: u64,
}

/// Finds the files in a tar archive that is pushed into it, and in the uncompressed tar archives
/// in it. Damage and other content end the search without an error. Needs at most 2 MiB.
pub struct FileWalk {
    outer: Level,
    pending: Vec<u8>,
    offset: u64,
}

impl Default for FileWalk {
    fn default() -> Self {
        Self { outer: Level::new(true), pending: Vec::new(), offset: 0 }
    }
}

impl FileWalk {
    /// Reads the next bytes and passes each file to `found` as soon as its content begins.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut impl FnMut(FileExtent)) {
        while !bytes.is_empty() && self.outer.is_tar {
            // Content begins at a block, so the offset of a block is the offset of its content.
            let missing = BLOCK_LEN - self.pending.len();
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if self.pending.is_empty() && head.len() == BLOCK_LEN {
                self.outer.push(self.offset, head, found);
            } else {
                self.pending.extend(head);
                if self.pending.len() < BLOCK_LEN {
                    return;
                }
                self.outer.push(self.offset, &self.pending, found);
                self.pending.clear();
            }
            self.offset += BLOCK_LEN as u64;
        }
    }
}

/// An archive, or a layer in it.
struct Level {
    parser: Parser,
    members: Members,
    /// False after the first block that is not a part of a tar archive.
    is_tar: bool,
}

struct Members {
    has_layers: bool,
    /// File whose content has not begun.
    announced: Option<(Vec<u8>, u64)>,
    layer: Option<Box<Level>>,
}

impl Level {
    fn new(has_layers: bool) -> Self {
        let members = Members { has_layers, announced: None, layer: None };
        Self { parser: Parser::new(Rules::Layer), members, is_tar: true }
    }

    fn push(&mut self, offset: u64, block: &[u8], found: &mut dyn FnMut(FileExtent)) {
        let mut visitor = At { members: &mut self.members, offset, found };
        self.is_tar &= self.parser.push(block, &mut visitor).is_ok();
    }
}

/// The members, while the block at `offset` is read.
struct At<'a> {
    members: &'a mut Members,
    offset: u64,
    found: &'a mut dyn FnMut(FileExtent),
}

impl Visitor for At<'_> {
    type Error = Flaw;

    fn begin(&mut self, member: Member) -> Result<(), Flaw> {
        let is_plain = is_file(member.kind) && member.size > 0;
        self.members.announced = is_plain.then_some((member.name, member.size));
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        if let Some((name, len)) = self.members.announced.take() {
            (self.found)(FileExtent { name, offset: self.offset, len });
            let is_layer = self.members.has_layers && bytes.first_chunk().is_some_and(|b| Header::parse(b).is_ok());
            self.members.layer = is_layer.then(|| Box::new(Level::new(false)));
        }
        if let Some(layer) = self.members.layer.as_mut().filter(|layer| layer.is_tar) {
            layer.push(self.offset, bytes, self.found);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Flaw> {
        self.members.layer = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_in_archive_and_layers_are_found_at_their_offsets() {
        let long = format!("usr/{}", "x".repeat(300));
        let layer = archive(&[("etc/a", b"one"), (&long, &[7; 1500]), ("empty", b"")]);
        let whole = archive(&[("manifest.json", b"[]"), ("blobs/l", &layer), ("last", b"end")]);
        for step in [1, 511, 512, 5000, usize::MAX] {
            let (mut walk, mut files) = (FileWalk::default(), Vec::new());
            for part in whole.chunks(step) {
                walk.push(part, &mut |file| files.push(file));
            }
            let names: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(&file.name).into_owned()).collect();
            assert_eq!(names, ["manifest.json", "blobs/l", "etc/a", &long, "last"], "{step}");
            let content = |i: usize| &whole[files[i].offset as usize..][..files[i].len as usize];
            assert_eq!((content(0), content(2), content(4)), (&b"[]"[..], &b"one"[..], &b"end"[..]));
            assert!(content(1) == layer && content(3) == [7; 1500]);
        }
    }

    #[test]
    fn other_content_and_damage_end_the_search() {
        let mut walk = FileWalk::default();
        walk.push(&[1; 4000], &mut |file| panic!("{file:?}"));
        let mut damaged = archive(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        damaged[1024 + 150] ^= 1;
        let (mut walk, mut found) = (FileWalk::default(), 0);
        walk.push(&damaged, &mut |_| found += 1);
        assert_eq!(found, 1);
    }
}
