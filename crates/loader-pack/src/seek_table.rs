//! The seek table of the Zstandard seekable format: a skippable frame with an entry for
//! each frame before it. Its numbers are little-endian.

use crate::PIECES_MAX;
use crate::frame::{SEEK_TABLE_MAGIC, SKIPPABLE_HEAD_LEN};

/// Last bytes of the table.
const FOOTER_MAGIC: [u8; 4] = 0x8f92_eab1_u32.to_le_bytes();

/// Length of an entry: compressed size and decompressed size.
const ENTRY_LEN: usize = 8;

/// Length of the footer: number of frames (4), descriptor (1), magic (4).
pub(crate) const FOOTER_LEN: usize = 9;

/// Sizes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Length of the frame in bytes.
    pub(crate) frame_len: u32,
    /// Length of the piece in bytes; 0 for the statement.
    pub(crate) piece_len: u32,
}

/// Returns the length in bytes of a table with `entries` entries.
pub(crate) fn table_len(entries: usize) -> usize {
    SKIPPABLE_HEAD_LEN + entries * ENTRY_LEN + FOOTER_LEN
}

/// Encodes the table, with its magic.
pub(crate) fn to_bytes(entries: &[Entry]) -> Vec<u8> {
    let len = table_len(entries.len());
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(SEEK_TABLE_MAGIC);
    bytes.extend(((len - SKIPPABLE_HEAD_LEN) as u32).to_le_bytes());
    for entry in entries {
        bytes.extend(entry.frame_len.to_le_bytes());
        bytes.extend(entry.piece_len.to_le_bytes());
    }
    bytes.extend((entries.len() as u32).to_le_bytes());
    bytes.push(0);
    bytes.extend(FOOTER_MAGIC);
    bytes
}

/// Returns the number of entries.
///
/// # Errors
/// A description of the defect.
pub(crate) fn entry_count(footer: [u8; FOOTER_LEN]) -> Result<usize, &'static str> {
    let [a, b, c, d, descriptor, magic @ ..] = footer;
    if magic != FOOTER_MAGIC {
        return Err("it does not end with the magic of a seek table");
    }
    if descriptor != 0 {
        return Err("its descriptor is not 0");
    }
    let count = u32::from_le_bytes([a, b, c, d]) as usize;
    match count {
        0 => Err("it has no entry"),
        count if count > PIECES_MAX + 1 => Err("it has too many entries"),
        count => Ok(count),
    }
}

/// Decodes a table with its magic and footer.
///
/// # Errors
/// A description of the defect.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let too_short = "it is too short";
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or(too_short)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(too_short)?;
    if *magic != SEEK_TABLE_MAGIC {
        return Err("it does not begin with the magic of a seek table");
    }
    let (entries, footer) = rest.split_last_chunk::<FOOTER_LEN>().ok_or(too_short)?;
    let count = entry_count(*footer)?;
    if u32::from_le_bytes(*len) as usize != rest.len() || entries.len() != count * ENTRY_LEN {
        return Err("its lengths contradict each other");
    }
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let entries = entries.chunks_exact(ENTRY_LEN);
    Ok(entries.map(|entry| Entry { frame_len: number(entry), piece_len: number(&entry[4..]) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_round_trips() {
        let entries: Vec<_> = (1..5).map(|i| Entry { frame_len: i * 100, piece_len: i * 1000 }).collect();
        let bytes = to_bytes(&entries);
        assert_eq!((bytes.len(), parse(&bytes)), (table_len(4), Ok(entries)));
    }

    #[test]
    fn damaged_tables_are_refused() {
        let bytes = to_bytes(&[Entry { frame_len: 9, piece_len: 8 }, Entry { frame_len: 7, piece_len: 0 }]);
        for at in 0..bytes.len() {
            assert!(parse(&bytes[..at]).is_err());
            let is_entry = (SKIPPABLE_HEAD_LEN..bytes.len() - FOOTER_LEN).contains(&at);
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            assert_eq!(parse(&damaged).is_ok(), is_entry, "{at}");
        }
        assert_eq!(parse(&to_bytes(&[])), Err("it has no entry"));
        let footer = |count: u32| {
            let mut footer = [0; FOOTER_LEN];
            footer[..4].copy_from_slice(&count.to_le_bytes());
            footer[5..].copy_from_slice(&FOOTER_MAGIC);
            entry_count(footer)
        };
        assert_eq!(footer(PIECES_MAX as u32 + 1), Ok(PIECES_MAX + 1));
        assert_eq!(footer(PIECES_MAX as u32 + 2), Err("it has too many entries"));
    }
}
