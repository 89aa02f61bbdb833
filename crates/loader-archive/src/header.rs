//! One header block of a tar (POSIX.1-2017 `pax`, ustar interchange format; GNU
//! tar's long numbers and names).

/// Length of a block in bytes.
pub(crate) const BLOCK_LEN: usize = 512;

/// One block.
pub(crate) type Block = [u8; BLOCK_LEN];

/// What a header block says by itself.
#[derive(Debug)]
pub(crate) struct RawHeader {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) kind: u8,
}

/// True for the kinds of members that have content.
pub(crate) fn is_file(kind: u8) -> bool {
    matches!(kind, b'0' | b'\0' | b'7')
}

/// True for a block of zeros.
pub(crate) fn is_zero(block: &Block) -> bool {
    block.iter().all(|byte| *byte == 0)
}

impl RawHeader {
    /// Reads a block.
    ///
    /// # Errors
    /// What is wrong: the checksum, a number, or a variant that readers take in
    /// different ways.
    pub(crate) fn parse(block: &Block) -> Result<Self, &'static str> {
        let stored = number(&block[148..156]).ok_or("its checksum is not a number")?;
        let sum = |spaces: u64| {
            block[..148].iter().chain(&block[156..]).map(|byte| u64::from(*byte)).sum::<u64>() + 8 * spaces
        };
        if stored != sum(u64::from(b' ')) {
            return Err("its checksum does not match");
        }
        let size = number(&block[124..136]).ok_or("its size is not a number")?;
        let mut name = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        let kind = block[156];
        if is_file(kind) && name.ends_with(b"/") {
            // To some readers a folder, whose content is the next header, whatever an
            // extension calls it.
            return Err("a file whose name ends in a slash");
        }
        match &block[257..265] {
            [b'u', b's', b't', b'a', b'r', 0, ..] => match () {
                () if block[508..] == *b"tar\0" => return Err("star's own format"),
                () if !prefix.is_empty() => name = [prefix, b"/", &name].concat(),
                () => {}
            },
            // GNU tar keeps times where POSIX has the prefix; where there are none,
            // some readers take it for a prefix all the same.
            b"ustar  \0" if number(&block[345..357]).and(number(&block[357..369])).is_none() => {
                return Err("a prefix where GNU tar has times");
            }
            b"ustar  \0" => {}
            b"\0\0\0\0\0\0\0\0" if prefix.is_empty() => {}
            _ => return Err("a variant that no engine writes"),
        }
        Ok(Self { name, link: text(&block[157..257]).to_vec(), size, kind })
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An octal number, or a big-endian one where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // Negative numbers begin with 0xff.
        let head = field[0] & 0x7f;
        let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
        let fits = head == 0 && high.iter().all(|byte| *byte == 0);
        return fits.then(|| low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_kinds() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(b"        755 "), Some(0o755));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(2 << 32));
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(b"0000000175x\0"), None);
    }
}
