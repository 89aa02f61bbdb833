//! Reads lines of bounded length from arbitrary bytes.

use std::io::{self, BufRead};

/// Number of bytes of a line that are kept; the rest is dropped. An event has at most 4096, and
/// messages of other programs are rarely longer.
pub(crate) const LINE_MAX: usize = 64 * 1024;

/// A line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawLine {
    /// The first [`LINE_MAX`] bytes, unchanged.
    pub(crate) bytes: Vec<u8>,
    /// True if the rest of the line was dropped.
    pub(crate) is_cut: bool,
}

/// Returns the next line of `input`; `None` at the end. The last line may have no newline.
///
/// # Errors
/// The error of read(2).
pub(crate) fn next_line(input: &mut impl BufRead) -> io::Result<Option<RawLine>> {
    let mut line = RawLine { bytes: Vec::new(), is_cut: false };
    let mut began = false;
    loop {
        let chunk = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if chunk.is_empty() {
            return Ok(began.then_some(line));
        }
        began = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        if line.bytes.len() + text.len() > LINE_MAX && !line.is_cut {
            drop_overwritten(&mut line.bytes);
        }
        let room = LINE_MAX - line.bytes.len();
        line.is_cut |= text.len() > room;
        line.bytes.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Drops text that a terminal would have overwritten, so that an event after the output of a
/// progress meter is kept even if the meter has been writing for hours.
fn drop_overwritten(line: &mut Vec<u8>) {
    if let Some(at) = line.iter().rposition(|byte| *byte == b'\r') {
        line.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn read_all(bytes: &[u8], buffer: usize) -> Vec<RawLine> {
        let mut input = BufReader::with_capacity(buffer, bytes);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_complete() {
        let mut bytes = vec![b'x'; LINE_MAX + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = read_all(&bytes, 100);
        assert_eq!((lines[0].bytes.len(), lines[0].is_cut), (LINE_MAX, true));
        assert_eq!(lines[1], RawLine { bytes: b"next".to_vec(), is_cut: false });
        let exact = read_all(&vec![b'x'; LINE_MAX], 4096);
        assert_eq!((exact.len(), exact[0].is_cut), (1, false));
    }

    #[test]
    fn a_progress_meter_without_newlines_does_not_hide_the_text_after_it() {
        let mut bytes = b"\r 66 3072k 1079k".repeat(20_000);
        bytes.extend_from_slice(b"{event}\nnext\n");
        let lines = read_all(&bytes, 16 * 1024);
        assert!(lines[0].bytes.starts_with(b"\r 66") && lines[0].bytes.ends_with(b"1079k{event}") && !lines[0].is_cut);
        assert_eq!(lines[1].bytes, b"next");
    }

    proptest! {
        #[test]
        fn lines_equal_a_split_at_newlines(
            parts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (LINE_MAX - 3..LINE_MAX + 3).prop_map(|len| vec![0xff; len]),
            ], 0..6),
            buffer in 1_usize..5000,
        ) {
            let bytes = parts.join(&b'\n');
            let mut expected: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
            if expected.last().is_some_and(|last| last.is_empty()) {
                expected.pop();
            }
            let lines = read_all(&bytes, buffer);
            prop_assert_eq!(lines.len(), expected.len());
            for (line, text) in lines.iter().zip(expected) {
                prop_assert_eq!(line.is_cut, text.len() > LINE_MAX);
                prop_assert_eq!(&line.bytes[..], &text[..text.len().min(LINE_MAX)]);
            }
        }
    }
}
