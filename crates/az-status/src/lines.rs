//! Lines of bounded length out of any bytes.

use std::io::{self, BufRead};

/// Longest line in bytes that is kept; the rest of it is dropped and counted.
/// An event has at most 4096, the messages of other programs are seldom longer.
pub(crate) const LINE_MAX: usize = 64 * 1024;

/// One line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// At most [`LINE_MAX`] bytes, as they came.
    pub(crate) bytes: Vec<u8>,
    /// True where more followed before the newline.
    pub(crate) cut: bool,
}

/// The next line of `input`; the last one may lack its newline. `None` at the end.
///
/// # Errors
/// The system's, where reading fails.
pub(crate) fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Line { bytes: Vec::new(), cut: false };
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
        if line.bytes.len() + text.len() > LINE_MAX && !line.cut {
            forget_overwritten(&mut line.bytes);
        }
        let room = LINE_MAX - line.bytes.len();
        line.cut |= text.len() > room;
        line.bytes.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Drops what a terminal would no longer show, so that the line behind a progress
/// meter is there though the meter has written for hours.
fn forget_overwritten(line: &mut Vec<u8>) {
    if let Some(at) = line.iter().rposition(|byte| *byte == b'\r') {
        line.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn all(bytes: &[u8], buffer: usize) -> Vec<Line> {
        let mut input = BufReader::with_capacity(buffer, bytes);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn a_line_too_long_is_cut_and_the_next_one_is_whole() {
        let mut bytes = vec![b'x'; LINE_MAX + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = all(&bytes, 100);
        assert_eq!((lines[0].bytes.len(), lines[0].cut), (LINE_MAX, true));
        assert_eq!(lines[1], Line { bytes: b"next".to_vec(), cut: false });
        let exact = all(&vec![b'x'; LINE_MAX], 4096);
        assert_eq!((exact.len(), exact[0].cut), (1, false));
    }

    #[test]
    fn a_meter_that_never_ends_its_line_does_not_hide_what_follows() {
        let mut bytes = b"\r 66 3072k 1079k".repeat(20_000);
        bytes.extend_from_slice(b"{event}\nnext\n");
        let lines = all(&bytes, 16 * 1024);
        assert!(lines[0].bytes.starts_with(b"\r 66") && lines[0].bytes.ends_with(b"1079k{event}") && !lines[0].cut);
        assert_eq!(lines[1].bytes, b"next");
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_split(
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
            let lines = all(&bytes, buffer);
            prop_assert_eq!(lines.len(), expected.len());
            for (line, text) in lines.iter().zip(expected) {
                prop_assert_eq!(line.cut, text.len() > LINE_MAX);
                prop_assert_eq!(&line.bytes[..], &text[..text.len().min(LINE_MAX)]);
            }
        }
    }
}
