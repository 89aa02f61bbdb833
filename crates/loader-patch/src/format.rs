//! Limits and operations of the format (crates/loader-patch/README.md).

use crate::varint::{put_number, put_signed, take_number, take_signed};

/// First bytes of a patch; the last one is the version.
pub(crate) const MAGIC: [u8; 8] = *b"AZPATCH\x01";

/// Maximum number of new bytes in a frame.
pub(crate) const FRAME_MAX: usize = 256 * 1024;

/// Maximum length in bytes of the window of old content for a frame.
pub(crate) const WINDOW_MAX: usize = 1024 * 1024;

/// Maximum length in bytes of a list of operations.
pub(crate) const LIST_MAX: usize = 64 * 1024;

/// Maximum length in bytes of anything compressed that has `len` bytes unpacked.
pub(crate) fn compressed_max(len: usize) -> usize {
    len + len / 256 + 64
}

const COPY: u64 = 0;
const FRAME: u64 = 1;
const DIFFERENCE: u64 = 2;

/// How the next bytes of the new content are made. Lengths and offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// They are in the old content.
    Copy { len: u64, old: u64 },
    /// They are a zstd frame with a window of the old content as its prefix.
    Frame { len: usize, compressed: usize, old: u64, window: usize },
    /// They are elements of the old content plus differences.
    Difference { len: usize, compressed: usize, old: u64, shape: Shape },
}

/// How a range is divided into elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Length of an element in bytes: 1, 2 or 4.
    pub(crate) width: usize,
    /// Number of bytes before the first element, less than the width.
    pub(crate) phase: usize,
}

impl Shape {
    /// Checks the values.
    pub(crate) fn new(width: usize, phase: usize) -> Option<Self> {
        ([1, 2, 4].contains(&width) && phase < width).then_some(Self { width, phase })
    }

    fn code(self) -> u64 {
        (self.width | self.phase << 3) as u64
    }

    fn from_code(code: u64) -> Option<Self> {
        (code < 32).then(|| Self::new((code & 7) as usize, (code >> 3) as usize))?
    }
}

/// Position in the old content to which the next offset is relative: the end of the last copy or
/// difference, or the start of the last window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OldCursor(u64);

impl OldCursor {
    /// Appends `operation` to `list`.
    pub(crate) fn encode(&mut self, operation: Operation, list: &mut Vec<u8>) {
        let mut head = |kind, len: u64| put_number(list, len << 2 | kind);
        let old = match operation {
            Operation::Copy { len, old } => {
                head(COPY, len);
                old
            }
            Operation::Frame { len, compressed, old, window } => {
                head(FRAME, len as u64);
                put_number(list, compressed as u64);
                put_number(list, window as u64);
                old
            }
            Operation::Difference { len, compressed, old, shape } => {
                head(DIFFERENCE, len as u64);
                put_number(list, compressed as u64);
                put_number(list, shape.code());
                old
            }
        };
        put_signed(list, old.wrapping_sub(self.0) as i64);
        self.advance(operation);
    }

    /// Removes the first operation from `list`, and checks its lengths and that its bytes are in
    /// the old content of `old_len` bytes.
    ///
    /// # Errors
    /// A description of the defect.
    pub(crate) fn decode(&mut self, list: &mut &[u8], old_len: u64) -> Result<Operation, &'static str> {
        let head = take_number(list)?;
        let (kind, len) = (head & 3, head >> 2);
        if kind == 3 {
            return Err("an operation of an unknown kind");
        }
        if len == 0 || kind != COPY && len > FRAME_MAX as u64 {
            return Err("an operation with an impossible length");
        }
        let mut small = |max: usize, what| {
            let number = take_number(list)?;
            usize::try_from(number).ok().filter(|number| *number <= max).ok_or(what)
        };
        let compressed = match kind {
            COPY => 0,
            _ => small(compressed_max(len as usize), "a frame that is longer than its content")?,
        };
        let detail = match kind {
            COPY => 0,
            FRAME => small(WINDOW_MAX, "a window of more than 1 MiB")?,
            _ => small(31, "elements of an unknown shape")?,
        };
        let old = self.0.wrapping_add_signed(take_signed(list)?);
        let (operation, old_used) = match kind {
            COPY => (Operation::Copy { len, old }, len),
            FRAME => (Operation::Frame { len: len as usize, compressed, old, window: detail }, detail as u64),
            _ => {
                let shape = Shape::from_code(detail as u64).ok_or("elements of an unknown shape")?;
                (Operation::Difference { len: len as usize, compressed, old, shape }, len)
            }
        };
        if old.checked_add(old_used).is_none_or(|end| end > old_len) {
            return Err("an operation that reads beyond the end of the old content");
        }
        self.advance(operation);
        Ok(operation)
    }

    fn advance(&mut self, operation: Operation) {
        self.0 = match operation {
            Operation::Copy { len, old } => old + len,
            Operation::Frame { old, .. } => old,
            Operation::Difference { len, old, .. } => old + len as u64,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD_LEN: u64 = 10 << 20;

    fn decoded(operation: Operation) -> Result<Operation, &'static str> {
        let mut list = Vec::new();
        OldCursor::default().encode(operation, &mut list);
        let mut rest = &list[..];
        let decoded = OldCursor::default().decode(&mut rest, OLD_LEN)?;
        assert!(rest.is_empty());
        for at in 0..list.len() {
            assert!(OldCursor::default().decode(&mut &list[..at], OLD_LEN).is_err(), "{at}");
        }
        Ok(decoded)
    }

    #[test]
    fn operations_round_trip() {
        let shape = Shape::new(4, 3).unwrap();
        let operations = [
            Operation::Copy { len: OLD_LEN, old: 0 },
            Operation::Copy { len: 1, old: OLD_LEN - 1 },
            Operation::Frame { len: FRAME_MAX, compressed: 9, old: 5, window: WINDOW_MAX },
            Operation::Frame { len: 1, compressed: 10, old: OLD_LEN, window: 0 },
            Operation::Difference { len: 77, compressed: 12, old: 1 << 20, shape },
        ];
        let (mut list, mut cursor) = (Vec::new(), OldCursor::default());
        for operation in operations {
            assert_eq!(decoded(operation), Ok(operation));
            cursor.encode(operation, &mut list);
        }
        let (mut rest, mut cursor) = (&list[..], OldCursor::default());
        for operation in operations {
            assert_eq!(cursor.decode(&mut rest, OLD_LEN), Ok(operation));
        }
    }

    #[test]
    fn impossible_operations_are_refused() {
        let shape = Shape::new(2, 0).unwrap();
        let frame = Operation::Frame { len: 5, compressed: 5, old: 0, window: 1 };
        assert_eq!(decoded(frame), Ok(frame));
        let refused = [
            Operation::Copy { len: 0, old: 0 },
            Operation::Copy { len: 2, old: OLD_LEN - 1 },
            Operation::Copy { len: u64::MAX >> 2, old: u64::MAX >> 2 },
            Operation::Frame { len: FRAME_MAX + 1, compressed: 5, old: 0, window: 0 },
            Operation::Frame { len: 5, compressed: compressed_max(5) + 1, old: 0, window: 0 },
            Operation::Frame { len: 5, compressed: 5, old: 0, window: WINDOW_MAX + 1 },
            Operation::Frame { len: 5, compressed: 5, old: OLD_LEN, window: 1 },
            Operation::Difference { len: 5, compressed: 5, old: OLD_LEN - 4, shape },
            Operation::Difference { len: 5, compressed: 5, old: 0, shape: Shape { width: 3, phase: 0 } },
            Operation::Difference { len: 5, compressed: 5, old: 0, shape: Shape { width: 2, phase: 2 } },
        ];
        for operation in refused {
            assert!(decoded(operation).is_err(), "{operation:?}");
        }
        assert!(OldCursor::default().decode(&mut &[0x07, 0, 0][..], OLD_LEN).is_err());
    }
}
