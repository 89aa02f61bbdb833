//! Body of a response, read exactly to its end: an engine may keep the connection open.

use std::io::{self, BufRead, ErrorKind, Read};

/// Maximum length in bytes of a line that contains the length of a chunk.
const CHUNK_LINE_MAX: u64 = 1024;

/// Rule that determines the end of a body (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A body as a reader. A connection that ends before the body is an error.
pub(crate) struct Body<R> {
    reader: R,
    framing: Framing,
    /// Number of bytes left in the chunk or in the body.
    left: u64,
    /// True after a chunk: the next chunk begins after a line end.
    inside: bool,
    ended: bool,
}

impl<R: BufRead> Body<R> {
    pub(crate) fn new(reader: R, framing: Framing) -> Self {
        let left = if let Framing::Length(left) = framing { left } else { 0 };
        Self { reader, framing, left, inside: false, ended: framing == Framing::Length(0) }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if self.inside && !self.line()?.is_empty() {
            return Err(bad("no line end after a chunk"));
        }
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(digits, 16).map_err(|_| bad("a malformed chunk"))?;
        self.inside = true;
        if self.left == 0 {
            self.ended = true;
            while !self.line()?.is_empty() {}
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.by_ref().take(CHUNK_LINE_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(line).map(|line| line.trim_end().to_owned()).map_err(|_| bad("a malformed chunk"))
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        if self.framing == Framing::UntilClose {
            return self.reader.read(buffer);
        }
        let room = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.reader.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.ended = self.left == 0 && self.framing != Framing::Chunked;
        Ok(read)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Body::new(bytes, framing).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn bodies_end_as_their_framing_declares() {
        assert_eq!(read(Framing::Length(3), b"abcdef").unwrap(), "abc");
        assert_eq!(read(Framing::Chunked, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nfg").unwrap(), "abcde");
        assert_eq!(read(Framing::UntilClose, b"abc").unwrap(), "abc");
    }

    #[test]
    fn a_body_that_is_cut_is_an_error() {
        assert!(read(Framing::Length(4), b"abc").is_err());
        for bytes in [&b""[..], b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc", b"x\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n"]
        {
            assert!(read(Framing::Chunked, bytes).is_err(), "{bytes:?}");
        }
    }
}
