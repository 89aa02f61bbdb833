//! Header blocks of a new archive: ustar, with a PAX record only for a size that
//! needs one. Mode, owner and time are the same for every member.

use super::header::{BLOCK_LEN, Block};

/// The two blocks of zeros at the end of an archive.
pub(crate) const END_OF_ARCHIVE: [u8; 2 * BLOCK_LEN] = [0; 2 * BLOCK_LEN];

/// Largest size in bytes that eleven octal digits hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Returns the number of zeros after a content of `size` bytes.
pub(crate) fn padding_len(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK_LEN as u64) as usize
}

/// Returns the header of a regular file: one block, or three if the size needs a
/// PAX record.
///
/// # Panics
/// If `name` has more than 100 bytes; all names are the project's own.
pub(crate) fn file_header(name: &str, size: u64) -> Vec<u8> {
    if size <= OCTAL_MAX {
        return block(name, size, b'0').to_vec();
    }
    // "NN size=N…\n", in which NN is the length of the whole record.
    let digits = size.to_string();
    let record = format!("{} size={digits}\n", digits.len() + 9);
    let mut content = record.into_bytes();
    let len = content.len() as u64;
    content.resize(BLOCK_LEN, 0);
    [&block("pax", len, b'x')[..], &content, &block(name, 0, b'0')].concat()
}

fn block(name: &str, size: u64, kind: u8) -> Block {
    let mut block = [0; BLOCK_LEN];
    let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
    assert!(name.len() <= 100, "a member name of the project is short");
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn another_reader_finds_the_same_names_and_sizes() {
        for size in [0, 1, 512, OCTAL_MAX, OCTAL_MAX + 1, 9_999_999_999, 10_000_000_000, 1 << 40] {
            let header = file_header("blobs/sha256/x", size);
            let mut tar = tar::Archive::new(header.chain(std::io::repeat(0)));
            let entry = tar.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((entry.path().unwrap().to_str(), entry.size()), (Some("blobs/sha256/x"), size));
        }
        assert_eq!([0, 1, 511, 512, 513].map(padding_len), [0, 511, 1, 0, 511]);
    }
}
