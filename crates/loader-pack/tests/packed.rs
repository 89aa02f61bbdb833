//! Packed content: it is unpacked again, and damaged or mismatched parts are refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its case may panic")]

use loader_model::Description;
use loader_pack::{Error, Mismatch, PIECE_LEN, PackOptions, PackedFile, Statement, Verify, pack, unpack};
use proptest::prelude::*;
use std::io::{self, Cursor, Read};

/// Reader that returns `WouldBlock` in every other call, otherwise at most `step` bytes.
struct Slow<'a> {
    bytes: &'a [u8],
    step: usize,
    is_blocked: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_blocked = !self.is_blocked;
        if self.is_blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..len])
    }
}

/// Text, then bytes that do not shrink, so that both kinds of frame occur.
fn content(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    (0..len)
        .map(|i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if i < PIECE_LEN { b"some words "[i % 11] } else { (state >> 56) as u8 }
        })
        .collect()
}

fn packed_with(content: &[u8], options: &PackOptions, step: usize) -> (Vec<u8>, Statement) {
    let mut packed = Vec::new();
    let mut input = Slow { bytes: content, step, is_blocked: false };
    let summary = pack(&mut input, &mut packed, options).unwrap();
    assert_eq!(summary.packed_len, packed.len() as u64);
    (packed, summary.statement)
}

fn packed(content: &[u8]) -> Vec<u8> {
    packed_with(content, &PackOptions::default(), usize::MAX).0
}

/// Unpacks with both readers. Returns the output and the error of each.
fn unpack_both(packed: &[u8], threads: usize) -> [(Vec<u8>, Option<Error>); 2] {
    let mut streamed = Vec::new();
    let mut input = Slow { bytes: packed, step: 1 << 20, is_blocked: false };
    let stream_error = unpack(&mut input, &mut streamed, Verify::PiecesAndContent, threads).err();
    let mut from_file = Vec::new();
    let opened = PackedFile::open(Cursor::new(packed));
    let file_error = opened.and_then(|mut file| file.unpack(&mut from_file, Verify::PiecesAndContent, threads)).err();
    [(streamed, stream_error), (from_file, file_error)]
}

#[test]
fn content_is_unpacked_and_its_statement_does_not_depend_on_the_way() {
    for len in [0, 1, 4096, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, 2 * PIECE_LEN + 5] {
        let content = content(len);
        let (_, expected) = packed_with(&content, &PackOptions::default(), usize::MAX);
        assert_eq!(expected.content_len(), len as u64);
        for (threads, step, level) in [(1, 1 << 16, 1), (3, 100_003, 3), (2, usize::MAX, 9)] {
            let options = PackOptions { level, threads, ..PackOptions::default() };
            let (packed, statement) = packed_with(&content, &options, step);
            assert_eq!(statement, expected, "{len} {threads}");
            for (unpacked, error) in unpack_both(&packed, threads) {
                assert!(error.is_none() && unpacked == content, "{len} {threads} {error:?}");
            }
        }
    }
}

#[test]
fn description_is_in_the_statement() {
    let description = Description {
        content_type: Some("text/plain".to_owned()),
        name: Some("models/a".to_owned()),
        release: Some(u64::MAX),
        images: Some("[{}]".to_owned()),
    };
    let options = PackOptions { description: description.clone(), ..PackOptions::default() };
    let (packed, statement) = packed_with(b"abc", &options, 1);
    let read = unpack(&mut &packed[..], &mut Vec::new(), Verify::Pieces, 1).unwrap();
    assert_eq!((&read, read.description()), (&statement, &description));
    assert_eq!(PackedFile::open(Cursor::new(&packed)).unwrap().statement(), &statement);
    let long = Description { name: Some("x".repeat(200_000)), ..Description::default() };
    let options = PackOptions { description: long, ..PackOptions::default() };
    let mut output = Vec::new();
    assert!(matches!(pack(&mut &b""[..], &mut output, &options), Err(Error::DescriptionTooLong)) && output.is_empty());
}

#[test]
fn ranges_are_unpacked() {
    let len = 2 * PIECE_LEN + 5;
    let content = content(len);
    let packed = packed(&content);
    let mut file = PackedFile::open(Cursor::new(&packed)).unwrap();
    let (p, l) = (PIECE_LEN as u64, len as u64);
    for (offset, range_len) in [(0, 1), (p - 1, 2), (p, p), (p + 7, p - 7), (l - 1, 1), (l, 0), (0, l), (3, 0)] {
        let mut output = Vec::new();
        assert_eq!(file.unpack_range(&mut output, offset, Some(range_len), 2).unwrap(), range_len);
        assert!(output == content[offset as usize..(offset + range_len) as usize], "{offset} {range_len}");
    }
    let mut rest = Vec::new();
    assert_eq!(file.unpack_range(&mut rest, p, None, 1).unwrap(), l - p);
    assert!(rest == content[PIECE_LEN..]);
    for (offset, range_len) in [(l + 1, None), (l, Some(1)), (1, Some(u64::MAX))] {
        let outcome = file.unpack_range(&mut Vec::new(), offset, range_len, 1);
        assert!(matches!(outcome, Err(Error::OutOfRange { .. })));
    }
}

#[test]
fn other_implementations_read_it() {
    let content = content(2 * PIECE_LEN + 5);
    let packed = packed(&content);
    assert!(zstd::decode_all(&packed[..]).unwrap() == content);
    let mut decoder = zeekstd::Decoder::new(Cursor::new(&packed)).unwrap();
    decoder.set_offset(PIECE_LEN as u64 + 9).unwrap();
    let mut rest = Vec::new();
    decoder.read_to_end(&mut rest).unwrap();
    assert!(rest == content[PIECE_LEN + 9..]);
}

#[test]
fn every_cut_and_every_changed_byte_is_detected() {
    let content = b"some words, some more words, and again some words".repeat(3);
    let packed = packed(&content);
    for threads in [1, 3] {
        for at in 0..packed.len() {
            for (_, error) in unpack_both(&packed[..at], threads) {
                assert!(error.is_some(), "cut at {at}");
            }
            for bit in [0x01, 0x80] {
                let mut changed = packed.clone();
                changed[at] ^= bit;
                let [_, (from_file, file_error)] = unpack_both(&changed, threads);
                assert!(from_file.is_empty() || from_file == content, "byte {at}");
                // Fields of the description are part of the statement, and not of the content.
                assert!(file_error.is_some(), "byte {at} {bit}");
            }
        }
        let [(streamed, error), _] = unpack_both(&[&packed[..], b"x"].concat(), threads);
        assert!(matches!(error, Some(Error::Trailing { offset }) if offset == packed.len() as u64));
        assert!(streamed == content);
    }
}

/// Parts of packed content: frames with the lengths of their pieces, statement, table.
struct Parts {
    frames: Vec<(Vec<u8>, u32)>,
    statement: Vec<u8>,
}

impl Parts {
    fn of(content: &[u8]) -> Self {
        let packed = packed(content);
        let count_at = packed.len() - 9;
        let count = u32::from_le_bytes(packed[count_at..count_at + 4].try_into().unwrap()) as usize;
        let entries = packed[count_at - 8 * count..count_at].as_chunks::<8>().0;
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let mut at = 0;
        let mut frames = Vec::new();
        for entry in entries {
            let end = at + number(&entry[..4]) as usize;
            frames.push((packed[at..end].to_vec(), number(&entry[4..])));
            at = end;
        }
        let statement = frames.pop().unwrap().0;
        Self { frames, statement }
    }

    fn join(&self) -> Vec<u8> {
        let mut entries = self.frames.clone();
        entries.push((self.statement.clone(), 0));
        let mut bytes: Vec<u8> = entries.iter().flat_map(|(frame, _)| frame.clone()).collect();
        bytes.extend(0x184d_2a5e_u32.to_le_bytes());
        bytes.extend((entries.len() as u32 * 8 + 9).to_le_bytes());
        for (frame, piece_len) in &entries {
            bytes.extend((frame.len() as u32).to_le_bytes());
            bytes.extend(piece_len.to_le_bytes());
        }
        bytes.extend((entries.len() as u32).to_le_bytes());
        bytes.extend([0, 0xb1, 0xea, 0x92, 0x8f]);
        bytes
    }
}

/// Checks that neither reader accepts `packed`, and that `PackedFile` writes a prefix of
/// `content`.
fn assert_refused(packed: &[u8], content: &[u8], case: &str, expected: impl Fn(&Error) -> bool) {
    for threads in [1, 2] {
        let [(_, stream_error), (from_file, file_error)] = unpack_both(packed, threads);
        assert!(content.starts_with(&from_file), "{case}");
        for error in [stream_error, file_error] {
            let error = error.unwrap_or_else(|| panic!("{case}: accepted"));
            assert!(expected(&error), "{case}: {error}");
        }
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let content = content(2 * PIECE_LEN + 5);
    let parts = || Parts::of(&content);
    assert!(unpack_both(&parts().join(), 2).iter().all(|(_, error)| error.is_none()), "joined as it was");

    let mut case = parts();
    case.frames.swap(0, 1);
    let expected = |error: &Error| matches!(error, Error::Mismatch(Mismatch::Piece { piece: 0, offset: 0 }));
    assert_refused(&case.join(), &content, "exchanged pieces", expected);

    let mut case = parts();
    case.frames.pop();
    let is_len = |error: &Error| matches!(error, Error::Mismatch(Mismatch::Len { .. }));
    assert_refused(&case.join(), &content, "a missing piece", is_len);

    let mut case = parts();
    case.frames.push(case.frames[2].clone());
    assert_refused(&case.join(), &content, "a repeated piece", is_len);

    let mut case = parts();
    let other: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    case.statement = Parts::of(&other).statement;
    assert_refused(&case.join(), &content, "the statement of other content", expected);

    let mut case = parts();
    case.frames[0].1 -= 1;
    case.frames[1].1 += 1;
    let is_len =
        |error: &Error| matches!(error, Error::SeekTable { .. } | Error::Mismatch(Mismatch::PieceLen { piece: 0, .. }));
    assert_refused(&case.join(), &content, "lengths in the seek table", is_len);

    let mut case = parts();
    case.frames.insert(1, (case.statement.clone(), 0));
    let expected = |error: &Error| {
        matches!(error, Error::Mismatch(Mismatch::Len { .. } | Mismatch::Pieces { .. }) | Error::Statement { .. })
    };
    assert_refused(&case.join(), &content, "two statements", expected);

    let mut case = parts();
    case.frames.insert(1, (b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec(), 0));
    let expected =
        |error: &Error| matches!(error, Error::Frame { index: 1, .. } | Error::Mismatch(Mismatch::Pieces { .. }));
    assert_refused(&case.join(), &content, "another skippable frame", expected);

    for extra in [b"junk".to_vec(), parts().statement, zstd::bulk::compress(b"more", 1).unwrap()] {
        let mut case = parts();
        case.frames.push((extra, 0));
        assert_refused(&case.join(), &content, "a frame after the last piece", |_| true);
    }

    let mut case = parts();
    let split = zstd::bulk::compress(&content[..PIECE_LEN / 2], 1).unwrap();
    case.frames[0] = (split, PIECE_LEN as u32 / 2);
    case.frames.insert(1, (zstd::bulk::compress(&content[PIECE_LEN / 2..PIECE_LEN], 1).unwrap(), PIECE_LEN as u32 / 2));
    let expected = |error: &Error| matches!(error, Error::Mismatch(Mismatch::Pieces { declared: 3, actual: 4 }));
    assert_refused(&case.join(), &content, "shorter pieces than declared", expected);
}

#[test]
fn declared_sizes_do_not_cost_memory() {
    // A frame that declares more than it contains, and bombs: blocks that repeat one byte.
    let mut bomb = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    bomb.push(0b1010_0000);
    bomb.extend((PIECE_LEN as u32).to_le_bytes());
    bomb.extend([0b011, 0, 0, 0]);
    let mut statement = 0x184d_2a53_u32.to_le_bytes().to_vec();
    statement.extend(u32::MAX.to_le_bytes());
    for (case, bytes) in [("declares more", bomb), ("a statement of 4 GiB", statement)] {
        let error = unpack(&mut &bytes[..], &mut Vec::new(), Verify::Pieces, 1).unwrap_err();
        assert!(matches!(error, Error::Frame { .. } | Error::Statement { .. }), "{case}: {error}");
    }
    let mut footer = u32::MAX.to_le_bytes().to_vec();
    footer.extend([0, 0xb1, 0xea, 0x92, 0x8f]);
    assert!(matches!(PackedFile::open(Cursor::new(footer)).map(drop), Err(Error::SeekTable { .. })));
}

#[test]
fn failed_reads_and_writes_are_reported() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let failed = pack(&mut Broken, &mut Vec::new(), &PackOptions::default());
    assert!(matches!(failed, Err(Error::Read(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    let failed = pack(&mut &b"abc"[..], &mut &mut [0; 4][..], &PackOptions::default());
    assert!(matches!(failed, Err(Error::Write(_))));
    assert!(matches!(unpack(&mut Broken, &mut Vec::new(), Verify::Pieces, 2), Err(Error::Read(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_without_meaning_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (_, error) in unpack_both(&bytes, 1) {
            prop_assert!(error.is_some());
        }
    }

    #[test]
    fn spliced_content_is_refused(cut in 0_usize..400, from in 0_usize..400, xor in 1_u8..) {
        let packed = packed(&b"some words and others ".repeat(20));
        let (cut, from) = (cut.min(packed.len()), from.min(packed.len()));
        let mut spliced = [&packed[..cut], &packed[from..]].concat();
        if let Some(byte) = spliced.get_mut(cut) {
            *byte ^= xor;
        }
        let [_, (content, error)] = unpack_both(&spliced, 1);
        prop_assert!(error.is_some() || content == b"some words and others ".repeat(20));
    }
}
