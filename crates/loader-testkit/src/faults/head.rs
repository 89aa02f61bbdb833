//! HTTP/1.1 message headers and body framing.

use std::io::{self, BufRead, Read, Write};

/// Maximum length of a header section in bytes.
const HEAD_MAX: u64 = 64 * 1024;

/// First line and header fields, in their original order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn new(first: &str) -> Self {
        Self { first: first.to_owned(), fields: Vec::new() }
    }

    /// Reads the next header section. Returns `None` at the end of the connection.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut from = from.take(HEAD_MAX);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let mut lines = lines.into_iter();
        let mut head = Self { first: lines.next().unwrap_or_default(), fields: Vec::new() };
        head.fields.extend(lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        }));
        Ok(Some(head))
    }

    /// Returns true if a header field contains a checksum of the body.
    pub(crate) fn has_checksum(&self) -> bool {
        self.fields.iter().any(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name == "content-md5" || name.starts_with("x-amz-checksum-")
        })
    }

    /// Returns word `index` of the first line.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.first.split(' ').nth(index).unwrap_or_default()
    }

    /// Returns the status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Changes a field with `change`, if it exists. Removes it if `change` returns `None`.
    pub(crate) fn change(&mut self, name: &str, change: impl FnOnce(&str) -> Option<String>) {
        let Some(old) = self.get(name) else { return };
        match change(old) {
            Some(new) => self.set(name, &new),
            None => self.remove(name),
        }
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        to.write_all(text.as_bytes())
    }

    /// Returns the framing of the body of this request.
    pub(crate) fn request_body(&self) -> BodyFraming {
        self.framing().unwrap_or(BodyFraming::Length(0))
    }

    /// Returns the framing of the body of this response to a request with `method`.
    pub(crate) fn response_body(&self, method: &str) -> BodyFraming {
        match self.status() {
            100..200 | 204 | 304 => BodyFraming::Length(0),
            _ if method == "HEAD" => BodyFraming::Length(0),
            _ => self.framing().unwrap_or(BodyFraming::ToEnd),
        }
    }

    fn framing(&self) -> Option<BodyFraming> {
        if self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Some(BodyFraming::Chunked);
        }
        self.get("content-length")?.parse().ok().map(BodyFraming::Length)
    }
}

/// Message body framing (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Length(u64),
    Chunked,
    ToEnd,
}

/// Reader for the content of a body, without its framing.
pub(crate) struct BodyReader<'a, R> {
    from: &'a mut R,
    framing: BodyFraming,
    /// Remaining bytes of the body or of the chunk.
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> BodyReader<'a, R> {
    pub(crate) fn new(from: &'a mut R, framing: BodyFraming) -> Self {
        let left = match framing {
            BodyFraming::Length(len) => len,
            BodyFraming::Chunked => 0,
            BodyFraming::ToEnd => u64::MAX,
        };
        Self { from, framing, left, ended: false }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        while self.left == 0 && !line.trim().is_empty() {
            // Skip the trailers up to the empty line.
            self.ended = true;
            line.clear();
            self.from.read_line(&mut line)?;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for BodyReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.framing == BodyFraming::Chunked && self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended || self.left == 0 {
            return Ok(0);
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.from.read(&mut buf[..want])?;
        if read == 0 && self.framing != BodyFraming::ToEnd {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        if self.framing == BodyFraming::Chunked && self.left == 0 {
            self.from.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}

/// Writer for the chunked transfer coding.
pub(crate) struct ChunkedWriter<W>(pub(crate) W);

impl<W: Write> ChunkedWriter<W> {
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")
    }
}

impl<W: Write> Write for ChunkedWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !buf.is_empty() {
            write!(self.0, "{:x}\r\n", buf.len())?;
            self.0.write_all(buf)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_decoded_and_the_next_message_follows() {
        let mut wire =
            &b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..];
        let mut body = Vec::new();
        BodyReader::new(&mut wire, BodyFraming::Chunked).read_to_end(&mut body).unwrap();
        assert_eq!(body, b"abcde");
        let head = Head::read(&mut wire).unwrap().unwrap();
        assert_eq!(
            (head.status(), head.response_body("GET"), head.response_body("HEAD")),
            (200, BodyFraming::Length(2), BodyFraming::Length(0))
        );
        let mut out = ChunkedWriter(Vec::new());
        out.write_all(b"abc").unwrap();
        assert_eq!(out.0, b"3\r\nabc\r\n");
        assert!(BodyReader::new(&mut &b"ab"[..], BodyFraming::Length(3)).read_to_end(&mut body).is_err());
    }
}
