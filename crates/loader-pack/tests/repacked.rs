//! Reading at any position, and packing content again under its statement.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use loader_model::Description;
use loader_pack::{Error, Mismatch, PackOptions, PackedFile, StatedContent, Verify, copy_stated, pack, repack, unpack};
use std::io::Cursor;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 3 * 7 + i / 4099) as u8).collect()
}

fn packed(content: &[u8], level: i32) -> Vec<u8> {
    let description = Description { release: Some(3), ..Description::default() };
    let mut packed = Vec::new();
    pack(&mut &content[..], &mut packed, &PackOptions { level, description, threads: 2 }).unwrap();
    packed
}

#[test]
fn content_is_read_at_any_position() {
    let content = content(9_000_000);
    for pieces in [1, 2] {
        let mut reader = PackedFile::open(Cursor::new(packed(&content, 1))).unwrap().into_reader(pieces).unwrap();
        for (offset, len) in [(0, 9_000_000), (4_194_300, 8), (8_999_999, 1), (9_000_000, 0), (5, 0), (17, 5_000_000)] {
            let mut bytes = vec![0; len];
            reader.read_at(offset, &mut bytes).unwrap();
            assert!(bytes == content[offset as usize..][..len], "{offset} {len}");
        }
        for (offset, len) in [(9_000_000, 1), (u64::MAX, 1), (8_999_999, 2)] {
            assert!(matches!(reader.read_at(offset, &mut vec![0; len]), Err(Error::OutOfRange { .. })));
        }
    }
}

#[test]
fn content_is_packed_again_only_if_the_statement_describes_it() {
    let content = content(9_000_000);
    let file = PackedFile::open(Cursor::new(packed(&content, 1))).unwrap();
    let stated = StatedContent { statement: file.statement(), bytes: file.statement_bytes() };
    for threads in [1, 3] {
        let mut again = Vec::new();
        let len = repack(&mut &content[..], &mut again, stated, 3, threads).unwrap();
        assert_eq!(len, again.len() as u64);
        let mut opened = Vec::new();
        let statement = unpack(&mut &again[..], &mut opened, Verify::PiecesAndContent, 2).unwrap();
        assert!(opened == content && statement == *file.statement());

        let mut copied = Vec::new();
        copy_stated(&mut &content[..], &mut copied, file.statement(), threads).unwrap();
        assert!(copied == content);

        let mut other = content.clone();
        other[5_000_000] ^= 1;
        let mut written = Vec::new();
        let refused = copy_stated(&mut &other[..], &mut written, file.statement(), threads);
        assert!(matches!(refused, Err(Error::Mismatch(Mismatch::Piece { piece: 1, .. }))));
        assert!(written == content[..1 << 22], "nothing of a wrong piece is written");
        let shorter = copy_stated(&mut &content[..8_999_999], &mut Vec::new(), file.statement(), threads);
        assert!(matches!(shorter, Err(Error::Mismatch(Mismatch::PieceLen { .. }))));
        let longer = [&content[..], b"x"].concat();
        let refused = copy_stated(&mut &longer[..], &mut Vec::new(), file.statement(), threads);
        assert!(matches!(refused, Err(Error::Mismatch(Mismatch::Len { .. }))));
    }
}
