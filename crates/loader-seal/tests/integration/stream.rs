//! Sealing and opening: round trips at segment boundaries, ranges, and damage.

use loader_model::{Coded, Description};
use loader_seal::{Error, Header, Key, Metadata, SealOptions, Suite, seal};
use std::io::{self, Cursor, Read, Seek, SeekFrom};

const SUITES: [Suite; 2] = [Suite::AesCtrHmac, Suite::AesGcm];

fn plaintext(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn options(suite: Suite, known: Option<usize>) -> SealOptions {
    SealOptions { suite, segment_log2: 12, plaintext_len: known.map(|len| len as u64), ..SealOptions::default() }
}

fn sealed(plain: &[u8], key: &Key, options: &SealOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let (header, len) = seal(&mut &*plain, &mut out, std::slice::from_ref(key), options).unwrap();
    assert_eq!(len, plain.len() as u64);
    assert_eq!(header.sealed_len().unwrap_or(out.len() as u64), out.len() as u64);
    out
}

fn open(sealed: &[u8], key: &Key, threads: usize) -> (Vec<u8>, Result<u64, Error>) {
    let mut out = Vec::new();
    let mut rest = sealed;
    let outcome = Header::read(&mut rest)
        .and_then(|header| header.unlock(std::slice::from_ref(key)))
        .and_then(|unlocked| unlocked.open(&mut rest, &mut out, threads));
    (out, outcome)
}

#[test]
fn round_trips_at_segment_boundaries() {
    let key = Key::generate().unwrap();
    for suite in SUITES {
        let (first, next) = (4096 - 40 - suite.tag_len(), 4096 - suite.tag_len());
        for len in [0, 1, first - 1, first, first + 1, first + next, first + next + 1, 100_000] {
            for known in [None, Some(len)] {
                for threads in [1, 3] {
                    let plain = plaintext(len);
                    let file = sealed(&plain, &key, &SealOptions { threads, ..options(suite, known) });
                    let (opened, outcome) = open(&file, &key, threads);
                    assert_eq!(outcome.unwrap(), len as u64);
                    assert!(opened == plain, "{suite:?} {len}");
                }
            }
        }
    }
}

#[test]
fn range_returns_the_bytes_of_the_plaintext() {
    let key = Key::generate().unwrap();
    let plain = plaintext(20_000);
    for suite in SUITES {
        for known in [None, Some(plain.len())] {
            let file = sealed(&plain, &key, &options(suite, known));
            let unlocked = Header::read(&mut &file[..]).unwrap().unlock(std::slice::from_ref(&key)).unwrap();
            for (start, len) in [(0, 0), (0, 1), (4000, 100), (8150, 1), (0, 20_000), (19_999, 1), (20_000, 0)] {
                for threads in [1, 3] {
                    let mut out = Vec::new();
                    let range = unlocked.open_range(&mut Cursor::new(&file), &mut out, start, Some(len), threads);
                    assert_eq!(range.unwrap(), len);
                    assert_eq!(out, plain[start as usize..(start + len) as usize], "{suite:?} {start}:{len}");
                }
            }
            let mut rest = Vec::new();
            unlocked.open_range(&mut Cursor::new(&file), &mut rest, 12_345, None, 2).unwrap();
            assert_eq!(rest, plain[12_345..]);
            for (offset, len) in [(19_999, Some(2)), (20_001, None), (20_001, Some(0)), (1, Some(u64::MAX))] {
                let outside = unlocked.open_range(&mut Cursor::new(&file), &mut Vec::new(), offset, len, 1);
                assert_eq!(outside.unwrap_err().code().as_str(), "out_of_range");
            }
            let cut = &file[..file.len() - 1];
            let tail = unlocked.open_range(&mut Cursor::new(cut), &mut Vec::new(), 19_000, Some(1_000), 1);
            assert!(matches!(tail.unwrap_err().code().as_str(), "truncated" | "corrupt"));
        }
    }
}

#[test]
fn truncated_stream_header_error_contains_offset() {
    let key = Key::generate().unwrap();
    for known in [None, Some(20_000)] {
        let file = sealed(&plaintext(20_000), &key, &options(Suite::AesGcm, known));
        let cut = Header::read(&mut &file[..]).unwrap().as_bytes().len() + 7;
        let (out, outcome) = open(&file[..cut], &key, 1);
        assert!(matches!(outcome, Err(Error::Truncated { at, .. }) if at == cut as u64), "{outcome:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn range_that_ends_at_a_boundary_does_not_read_the_next_segment() {
    let key = Key::generate().unwrap();
    for suite in SUITES {
        let (first, next) = (4096 - 40 - suite.tag_len(), 4096 - suite.tag_len());
        let plain = plaintext(first + 2 * next);
        let mut file = sealed(&plain, &key, &options(suite, Some(plain.len())));
        let unlocked = Header::read(&mut &file[..]).unwrap().unlock(std::slice::from_ref(&key)).unwrap();
        let range = |file: &[u8], len: usize| {
            let mut out = Vec::new();
            let end = unlocked.open_range(&mut Cursor::new(file), &mut out, 0, Some(len as u64), 2);
            end.map(|_| out)
        };
        assert!(range(&file, plain.len()).unwrap() == plain, "to the end of the last segment");
        *file.last_mut().unwrap() ^= 1;
        assert!(range(&file, first + next).unwrap() == plain[..first + next]);
        assert_eq!(range(&file, first + next + 1).unwrap_err().code().as_str(), "corrupt");
    }
}

/// File that was truncated after its length was read.
struct Shrunk<'a>(Cursor<&'a [u8]>, u64);

impl Read for Shrunk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.1.saturating_sub(self.0.position())).unwrap().min(buffer.len());
        self.0.read(&mut buffer[..left])
    }
}

impl Seek for Shrunk<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn file_that_shrinks_during_a_range_read_is_truncated() {
    let key = Key::generate().unwrap();
    let plain = plaintext(20_000);
    for known in [None, Some(plain.len())] {
        let file = sealed(&plain, &key, &options(Suite::AesGcm, known));
        let unlocked = Header::read(&mut &file[..]).unwrap().unlock(std::slice::from_ref(&key)).unwrap();
        let mut shrunk = Shrunk(Cursor::new(&file), file.len() as u64 - 5);
        let outcome = unlocked.open_range(&mut shrunk, &mut Vec::new(), 19_000, Some(1_000), 1);
        assert!(matches!(outcome, Err(Error::Truncated { at, .. }) if at == file.len() as u64 - 5), "{outcome:?}");
    }
}

#[test]
fn truncation_and_flipped_bytes_are_refused() {
    let key = Key::generate().unwrap();
    let plain = plaintext(9_000);
    for suite in SUITES {
        for known in [None, Some(plain.len())] {
            let file = sealed(&plain, &key, &options(suite, known));
            let mut several = [2, 7, 7, 2].into_iter().cycle();
            let mut check = |damaged: &[u8], what: String| {
                for threads in [1, several.next().unwrap()] {
                    let (opened, outcome) = open(damaged, &key, threads);
                    assert!(outcome.is_err(), "{suite:?} {what} was accepted by {threads} threads");
                    assert!(plain.starts_with(&opened), "{suite:?} {what}: {threads} threads released something else");
                }
            };
            for at in 0..file.len() {
                check(&file[..at], format!("truncated at {at}"));
                let mut flipped = file.clone();
                flipped[at] ^= 1 << (at % 8);
                check(&flipped, format!("flip at {at}"));
            }
            let mut longer = file.clone();
            longer.push(0);
            check(&longer, "one more byte".to_owned());
            check(&[&file[..], &file[..]].concat(), "duplicated".to_owned());
        }
    }
}

#[test]
fn declared_length_distinguishes_truncation_from_damage() {
    let key = Key::generate().unwrap();
    let file = sealed(&plaintext(9_000), &key, &options(Suite::AesGcm, Some(9_000)));
    let code = |damaged: &[u8]| open(damaged, &key, 1).1.unwrap_err().code().as_str();
    assert_eq!(code(&file[..file.len() - 5]), "truncated");
    assert_eq!(code(&[&file[..], b"x"].concat()), "trailing");
    let mut flipped = file.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(code(&flipped), "corrupt");
}

#[test]
fn any_of_several_keys_opens_and_other_keys_do_not() {
    let keys = [Key::generate().unwrap(), Key::generate().unwrap()];
    let mut file = Vec::new();
    let description = Description { name: Some("models/a".into()), release: Some(7), ..Description::default() };
    let metadata = Metadata { description, ..Metadata::default() };
    let options = SealOptions { metadata: metadata.clone(), ..SealOptions::default() };
    seal(&mut &b"hello"[..], &mut file, &keys, &options).unwrap();
    for key in &keys {
        let (opened, outcome) = open(&file, key, 1);
        assert_eq!((opened.as_slice(), outcome.unwrap()), (&b"hello"[..], 5));
    }
    assert_eq!(Header::read(&mut &file[..]).unwrap().unverified_metadata().unwrap(), metadata);
    let stranger = Key::generate().unwrap();
    let error = open(&file, &stranger, 1).1.unwrap_err();
    assert_eq!(error.code().as_str(), "wrong_key");
    let text = error.to_string();
    assert!(text.contains(&stranger.id().to_string()) && text.contains(&keys[0].id().to_string()), "{text}");
}

#[test]
fn input_with_another_length_than_declared_is_refused() {
    let key = Key::generate().unwrap();
    for declared in [4, 6] {
        let options = SealOptions { plaintext_len: Some(declared), ..SealOptions::default() };
        let mut out = Vec::new();
        let error = seal(&mut &b"hello"[..], &mut out, std::slice::from_ref(&key), &options).unwrap_err();
        assert_eq!(error.code().as_str(), "length_mismatch");
        assert!(open(&out, &key, 1).1.is_err());
    }
}

#[test]
fn error_for_unsealed_input_contains_its_type() {
    let look = |head: &[u8]| Header::read(&mut &head[..]).unwrap_err().to_string();
    let mut tar = [0; 512];
    tar[..13].copy_from_slice(b"manifest.json");
    tar[257..262].copy_from_slice(b"ustar");
    assert!(look(&tar).contains("plain tar"), "{}", look(&tar));
    assert!(look(&[0x1f, 0x8b, 8, 0]).contains("gzip"));
    assert!(look(b"age-encryption.org/v1\n-> X25519").contains("age"));
    assert!(look(b"").contains("empty"));
    assert!(look(b"\x89AZS\n\x1a\n").contains("text-mode"));
}
