//! The head of a message of HTTP/1.1, and where its body ends.

use std::io::{self, BufRead, Read, Write};

/// Longest head in bytes.
const HEAD_MAX: u64 = 64 * 1024;

/// First line and headers, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn new(first: &str) -> Self {
        Self { first: first.to_owned(), fields: Vec::new() }
    }

    /// The next head; `None` where the connection ends before it.
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

    /// True if the store can check the body against a checksum in the head.
    pub(crate) fn has_checksum(&self) -> bool {
        self.fields.iter().any(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name == "content-md5" || name.starts_with("x-amz-checksum-")
        })
    }

    /// Word `index` of the first line.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.first.split(' ').nth(index).unwrap_or_default()
    }

    /// The status of an answer.
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

    /// Changes a field with `change`, if it is there; without a new value it goes.
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

    /// Where the body of this request ends.
    pub(crate) fn request_body(&self) -> Framing {
        self.framing().unwrap_or(Framing::Length(0))
    }

    /// Where the body of this answer to a request with `method` ends.
    pub(crate) fn answer_body(&self, method: &str) -> Framing {
        match self.status() {
            100..200 | 204 | 304 => Framing::Length(0),
            _ if method == "HEAD" => Framing::Length(0),
            _ => self.framing().unwrap_or(Framing::ToEnd),
        }
    }

    fn framing(&self) -> Option<Framing> {
        if self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        self.get("content-length")?.parse().ok().map(Framing::Length)
    }
}

/// How the end of a body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    ToEnd,
}

/// The bytes of a body, out of their frame.
pub(crate) struct Unframed<'a, R> {
    from: &'a mut R,
    framing: Framing,
    /// Bytes left of the body, or of the chunk.
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> Unframed<'a, R> {
    pub(crate) fn new(from: &'a mut R, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(len) => len,
            Framing::Chunked => 0,
            Framing::ToEnd => u64::MAX,
        };
        Self { from, framing, left, ended: false }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        while self.left == 0 && !line.trim().is_empty() {
            // Trailers, up to the empty line.
            self.ended = true;
            line.clear();
            self.from.read_line(&mut line)?;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Unframed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended || self.left == 0 {
            return Ok(0);
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.from.read(&mut buf[..want])?;
        if read == 0 && self.framing != Framing::ToEnd {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        if self.framing == Framing::Chunked && self.left == 0 {
            self.from.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}

/// Puts bytes into chunks.
pub(crate) struct Chunks<W>(pub(crate) W);

impl<W: Write> Chunks<W> {
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")
    }
}

impl<W: Write> Write for Chunks<W> {
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
    fn chunks_are_taken_apart_and_the_next_message_is_behind_them() {
        let mut wire =
            &b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..];
        let mut body = Vec::new();
        Unframed::new(&mut wire, Framing::Chunked).read_to_end(&mut body).unwrap();
        assert_eq!(body, b"abcde");
        let head = Head::read(&mut wire).unwrap().unwrap();
        assert_eq!(
            (head.status(), head.answer_body("GET"), head.answer_body("HEAD")),
            (200, Framing::Length(2), Framing::Length(0))
        );
        let mut out = Chunks(Vec::new());
        out.write_all(b"abc").unwrap();
        assert_eq!(out.0, b"3\r\nabc\r\n");
        assert!(Unframed::new(&mut &b"ab"[..], Framing::Length(3)).read_to_end(&mut body).is_err());
    }
}
