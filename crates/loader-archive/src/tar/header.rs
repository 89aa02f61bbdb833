//! One header block of a tar archive (POSIX.1-2017 `pax`, ustar interchange
//! format; the long numbers of GNU tar).

/// Length of a block in bytes.
pub(crate) const BLOCK_LEN: usize = 512;

/// One block.
pub(crate) type Block = [u8; BLOCK_LEN];

/// The fields of a header block that the project uses.
#[derive(Debug)]
pub(crate) struct Header {
    /// Name of the member, with the prefix of the ustar format.
    pub(crate) name: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    /// Length of the content in bytes.
    pub(crate) size: u64,
    /// The type flag.
    pub(crate) kind: u8,
}

/// Returns true for the type flags of regular files.
pub(crate) fn is_file(kind: u8) -> bool {
    matches!(kind, b'0' | b'\0' | b'7')
}

/// Returns true for the type flags of members without content, whatever their
/// size field says: links, devices, directories, FIFOs.
pub(crate) fn is_header_only(kind: u8) -> bool {
    matches!(kind, b'1'..=b'6')
}

/// Returns true for a block of zeros.
pub(crate) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

impl Header {
    /// Parses a block. Every number of the block must be well formed, because
    /// engines refuse a header for any of them.
    ///
    /// # Errors
    /// A text that names the wrong field.
    pub(crate) fn parse(block: &Block) -> Result<Self, &'static str> {
        let stored = number(&block[148..156]).ok_or("its checksum is not a number")?;
        if stored != checksum(block, i64::from) && stored != checksum(block, |byte| i64::from(byte as i8)) {
            return Err("its checksum does not match");
        }
        let size = number(&block[124..136]).and_then(|size| u64::try_from(size).ok()).ok_or("its size is no number")?;
        for (field, why) in [
            (&block[100..108], "its mode is no number"),
            (&block[108..116], "its user id is no number"),
            (&block[116..124], "its group id is no number"),
            (&block[136..148], "its time is no number"),
        ] {
            number(field).ok_or(why)?;
        }
        let mut name = text(&block[..100]).to_vec();
        let is_posix = block[257..263] == *b"ustar\0";
        if is_posix || block[257..265] == *b"ustar  \0" {
            let devices = number(&block[329..337]).and(number(&block[337..345]));
            devices.ok_or("its device number is no number")?;
        }
        // star stores two times after a shorter prefix.
        let prefix_end = if block[508..] == *b"tar\0" { 476 } else { 500 };
        let prefix = text(&block[345..prefix_end]);
        if is_posix && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        Ok(Self { name, link: text(&block[157..257]).to_vec(), size, kind: block[156] })
    }
}

/// Returns the sum of all bytes, with spaces in place of the checksum.
fn checksum(block: &Block, value: impl Fn(u8) -> i64) -> i64 {
    block[..148].iter().chain(&block[156..]).map(|byte| value(*byte)).sum::<i64>() + 8 * i64::from(b' ')
}

/// Returns the bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Parses an octal number, or a big-endian number in two's complement if the
/// first bit is set. An empty field is zero.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let is_negative = field[0] & 0x40 != 0;
        let fill = if is_negative { 0xff } else { 0 };
        let first = if is_negative { field[0] } else { field[0] & 0x7f };
        let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
        if first != fill || high.iter().any(|byte| *byte != fill) {
            return None;
        }
        let value = low.iter().fold(u64::from(fill), |value, byte| value << 8 | u64::from(*byte));
        // Seven or eight bytes are left; seven need their sign.
        let value = if is_negative && low.len() < 8 { value | u64::MAX << (8 * low.len()) } else { value };
        let value = value as i64;
        return (value.is_negative() == is_negative).then_some(value);
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    let digits = digits.split('\0').next().unwrap_or_default();
    let is_octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    match digits {
        "" => Some(0),
        digits if is_octal => i64::from_str_radix(digits, 8).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_forms() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(b"        755 "), Some(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(2 << 32));
        assert_eq!(number(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(i64::MAX));
        assert_eq!(number(&[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]), None, "more than 63 bits");
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xff; 8]), Some(-1));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        for bad in [&b"0000000175x\0"[..], b"+0000001750\0", b"-0000001750\0", b"0o000001750\0", b"00000000178\0"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
