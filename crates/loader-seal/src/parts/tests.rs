use super::*;
use crate::MAGIC;
use loader_model::Coded;
use std::fs::OpenOptions;
use std::path::PathBuf;

/// Empty file that is removed when it is dropped.
struct TempFile(PathBuf, File);

impl TempFile {
    fn new() -> Self {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let path = std::env::temp_dir().join(format!("loader-seal-{:016x}", u64::from_be_bytes(name)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        Self(path, file)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Returns `len` bytes that start with the header of a sealed file: suite 2, segments of
/// 4096 bytes, header of `header_len` bytes, plaintext length `declared`.
fn sealed(header_len: u32, len: usize, declared: Option<u64>) -> Vec<u8> {
    let mut file = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    file.truncate(len);
    let mut head = MAGIC.to_vec();
    head.extend([1, 2, u8::from(declared.is_some()), 12]);
    head.extend(declared.unwrap_or(u64::MAX).to_be_bytes());
    head.extend([7; 16]);
    head.extend(header_len.to_be_bytes());
    // One unknown field that readers ignore fills the header.
    let field_len = header_len.saturating_sub(40 + 32 + 3) as u16;
    head.extend([&[0x80], &field_len.to_be_bytes()[..]].concat());
    head.truncate(len);
    file[..head.len()].copy_from_slice(&head);
    file
}

fn split(file: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut small_file = TempFile::new();
    let mut big = Vec::new();
    let digest = split_parts(file, &mut small_file.1, &mut big)?;
    let small = std::fs::read(&small_file.0).unwrap();
    let mut whole = Vec::new();
    assert_eq!(join_parts(&small[..], &big[..], &mut whole)?, digest);
    assert_eq!(whole, file);
    assert_eq!(digest.big, copy_digest(&big[..], io::sink())?);
    Ok((small, big))
}

#[test]
fn small_part_is_thirty_percent_within_its_bounds() {
    assert_eq!(small_len(1_000_009, 72), 300_002);
    assert_eq!(small_len(1_000_010, 72), 300_003);
    assert_eq!(small_len((10 << 20) - 1, 72), SMALL_MAX - 1);
    assert_eq!(small_len(10 << 20, 72), SMALL_MAX);
    assert_eq!(small_len(u64::MAX, 72), SMALL_MAX);
    assert_eq!(small_len(200, 75), 116);
    assert_eq!(small_len(65_600, 65_536), 65_577);
}

#[test]
fn files_of_every_length_are_split_at_the_right_position() {
    let mib = 1 << 20;
    for len in [131, 132, 386, 387, 5000, mib, 10 * mib - 1, 10 * mib, 10 * mib + 1, 13 * mib + 7] {
        let (small, big) = split(&sealed(75, len, None)).unwrap();
        assert_eq!(small.len() as u64, small_len(len as u64, 75), "{len}");
        assert!(!big.is_empty());
    }
    let (small, big) = split(&sealed(65_536, 65_536 + 56, None)).unwrap();
    assert_eq!((small.len(), big.len()), (65_577, 15));
}

#[test]
fn short_file_is_truncated() {
    for len in 8..131 {
        assert_eq!(split(&sealed(75, len, None)).unwrap_err().code().as_str(), "truncated", "{len}");
    }
    // The last segment consists of its tag only.
    assert_eq!(split(&sealed(75, 75 + 4096 + 16, None)).unwrap_err().code().as_str(), "truncated");
    assert!(split(&sealed(75, 75 + 4096 + 17, None)).is_ok());
}

#[test]
fn declared_length_must_match_the_file() {
    for plaintext_len in [0, 10_000, 11 << 20] {
        let whole = Header::read(&mut &sealed(75, 75, Some(plaintext_len))[..]).unwrap().sealed_len().unwrap();
        let file = sealed(75, whole as usize + 1, Some(plaintext_len));
        assert!(matches!(split(&file), Err(Error::Trailing { offset }) if offset == whole));
        assert!(split(&file[..file.len() - 1]).is_ok());
        assert!(matches!(split(&file[..file.len() - 2]), Err(Error::Truncated { at, .. }) if at == whole - 1));
    }
}

#[test]
fn truncated_error_contains_the_length_of_the_file() {
    for at in [72, 73, 100, 112, 127] {
        let file = sealed(72, at, None);
        assert!(
            matches!(split(&file).unwrap_err(), Error::Truncated { at: reported, .. } if reported == at as u64),
            "{at}"
        );
    }
}

#[test]
fn split_id_does_not_depend_on_the_length_of_the_header() {
    let id =
        |header_len: u32, small_len| split_id(&Header::read(&mut &*sealed(header_len, 5000, None)).unwrap(), small_len);
    assert_eq!(id(72, 1500), "07070707070707070707070707070707-1428");
    assert_eq!(id(139, 1567), id(72, 1500));
    assert_ne!(id(72, 1501), id(72, 1500));
}

#[test]
fn unsealed_file_is_refused() {
    assert_eq!(split(b"").unwrap_err().code().as_str(), "not_sealed");
    assert_eq!(split(&[0; 4096]).unwrap_err().code().as_str(), "not_sealed");
    assert_eq!(split(&sealed(71, 4096, None)).unwrap_err().code().as_str(), "unsupported");
}

#[test]
fn swapped_parts_are_detected_before_a_byte_is_written() {
    let (small, big) = split(&sealed(75, 5000, None)).unwrap();
    let mut whole = Vec::new();
    assert_eq!(join_parts(&big[..], &small[..], &mut whole).unwrap_err().code().as_str(), "not_sealed");
    assert!(whole.is_empty());
}
