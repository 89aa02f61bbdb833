//! Reading until a buffer is full.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads until `buffer` is full or the input ends. Returns the number of bytes. Reads that
/// are interrupted or would block are retried.
///
/// # Errors
/// Those of `input`.
pub fn read_full(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    read_full_unless_stopped(input, buffer, &AtomicBool::new(false))
}

/// Reads like [`read_full`], but returns early if the reader would block and `stopped`
/// is true.
///
/// # Errors
/// Those of `input`.
pub fn read_full_unless_stopped(
    input: &mut (impl Read + ?Sized),
    buffer: &mut [u8],
    stopped: &AtomicBool,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Reader that returns one of its results for each call, and then the end.
    struct Script(VecDeque<Result<&'static [u8], ErrorKind>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                None => Ok(0),
                Some(Err(kind)) => Err(kind.into()),
                Some(Ok(mut bytes)) => bytes.read(buffer),
            }
        }
    }

    fn script<const N: usize>(steps: [Result<&'static [u8], ErrorKind>; N]) -> Script {
        Script(steps.into())
    }

    #[test]
    fn reads_are_retried_until_full_or_end_of_input() {
        let mut buffer = [0; 6];
        let later = [Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)];
        let mut input = script([Ok(b"ab"), later[0], Ok(b"cd"), later[1], Ok(b"ef"), Err(ErrorKind::Other)]);
        assert_eq!(read_full(&mut input, &mut buffer).unwrap(), 6);
        assert_eq!(&buffer, b"abcdef");
        assert_eq!(input.0.len(), 1, "no read after the buffer was full");
        assert_eq!(read_full(&mut script([Ok(b"xy"), later[1], later[0]]), &mut buffer).unwrap(), 2);
        assert_eq!(&buffer, b"xycdef");
        let broken = read_full(&mut script([Ok(b"ab"), Err(ErrorKind::Other)]), &mut buffer);
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::Other);
    }

    #[test]
    fn blocked_read_returns_after_stop() {
        let read = |kind, stopped| {
            let mut input = script([Ok(b"ab"), Err(kind), Ok(b"cd")]);
            read_full_unless_stopped(&mut input, &mut [0; 4], &AtomicBool::new(stopped)).unwrap()
        };
        assert_eq!(read(ErrorKind::WouldBlock, true), 2);
        assert_eq!(read(ErrorKind::WouldBlock, false), 4);
        assert_eq!(read(ErrorKind::Interrupted, true), 4);
    }
}
