//! The body of an answer, whole or an error.

use crate::{Error, fault};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use ureq::BodyReader;
use zeroize::Zeroizing;

/// Fewest bytes that [`SLOW_WAITS`] times the longest silence of waiting have to bring.
const LEAST: u64 = 4 * 1024;

/// How many times the longest silence a head may take, or a body for [`LEAST`] bytes:
/// two minutes by default.
pub(crate) const SLOW_WAITS: u32 = 4;

/// Reads a body to the end that the server announced, never short of it and
/// never past it.
pub struct Body {
    pub(crate) reader: BodyReader<'static>,
    pub(crate) host: String,
    pub(crate) length: Option<u64>,
    /// True if the end of the body can be told from a connection that was cut.
    pub(crate) framed: bool,
    pub(crate) got: u64,
    pub(crate) idle: Duration,
    pub(crate) pace: Pace,
}

/// What came, and how long was waited for it, since there was enough of it last.
#[derive(Default)]
pub(crate) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Takes note of `bytes` that took `waited`; false where the line crawls.
    fn took(&mut self, bytes: usize, waited: Duration, idle: Duration) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes >= LEAST {
            *self = Self::default();
        }
        self.waited < idle * SLOW_WAITS
    }
}

impl Body {
    /// Number of bytes in the body according to `Content-Length`, or to
    /// [`Body::expect_length`]; `None` if neither is known.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// Sets the number of bytes of a body that came without a `Content-Length`: one
    /// that ends earlier is an error. A `Content-Length` is never overruled.
    pub fn expect_length(&mut self, length: u64) {
        self.length.get_or_insert(length);
    }

    /// Fills at most `buffer` and gives how many bytes; 0 at the end.
    ///
    /// # Errors
    /// [`Error::Short`]: the connection ended before the announced length.
    /// [`Error::TimedOut`]: no byte for too long, or less than 4 KiB in four times
    /// that; only waiting counts, not what the caller does in between.
    /// [`Error::Protocol`]: nothing says where the body ends, so that it may be cut.
    /// [`Error::Broken`], [`Error::Protocol`]: as named.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let before = Instant::now();
        match self.reader.read(buffer) {
            Ok(0) if buffer.is_empty() => Ok(0),
            Ok(0) => match self.length {
                Some(expected) if self.got < expected => Err(self.short(expected)),
                None if !self.framed => {
                    let what = "answer without a length, so its end cannot be seen".to_owned();
                    Err(Error::Protocol { host: self.host.clone(), what })
                }
                _ => Ok(0),
            },
            Ok(n) if self.pace.took(n, before.elapsed(), self.idle) => {
                self.got += n as u64;
                Ok(n)
            }
            Ok(_) => {
                let (bytes, seconds) = (self.pace.bytes, self.pace.waited.as_secs());
                let what = format!("only {bytes} bytes in {seconds} s");
                Err(Error::TimedOut { host: self.host.clone(), what })
            }
            Err(error) => Err(self.classify(error)),
        }
    }

    /// Fills at most `buffer` for a caller that needs more bytes; never 0 for a buffer
    /// that is not empty.
    ///
    /// # Errors
    /// [`Error::Short`] also at the end of a body that announced no length. Else as
    /// [`Body::read_some`].
    pub fn read_more(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.read_some(buffer)? {
            0 if !buffer.is_empty() => Err(self.short(self.got + buffer.len() as u64)),
            read => Ok(read),
        }
    }

    /// Looks for the end of the body, which gives the connection back for the next
    /// request.
    ///
    /// # Errors
    /// [`Error::Protocol`]: there are more bytes. What else fails does not matter any
    /// more.
    pub fn expect_end(&mut self) -> Result<(), Error> {
        match self.read_some(&mut [0]) {
            Ok(1..) => {
                let what = format!("more than the {} bytes of the answer", self.got - 1);
                Err(Error::Protocol { host: self.host.clone(), what })
            }
            _ => Ok(()),
        }
    }

    /// The whole body, at most `cap` bytes. The buffer is wiped on drop.
    ///
    /// # Errors
    /// [`Error::TooLong`]: more than `cap` bytes, by the announced length or by
    /// count. Else as [`Body::read_some`].
    pub fn read_capped(&mut self, cap: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
        let too_long = || Error::TooLong { host: self.host.clone(), cap };
        if self.length.is_some_and(|length| length > cap) {
            return Err(too_long());
        }
        let expected = self.length.unwrap_or(16 * 1024).min(cap);
        let mut all = Zeroizing::new(Vec::with_capacity(expected as usize));
        let mut buffer = Zeroizing::new([0; 16 * 1024]);
        loop {
            let n = self.read_some(&mut *buffer)?;
            if n == 0 {
                return Ok(all);
            }
            if all.len() as u64 + n as u64 > cap {
                return Err(Error::TooLong { host: self.host.clone(), cap });
            }
            if all.capacity() - all.len() < n {
                // Growing in place may leave a copy behind; move by hand so the
                // old buffer is wiped.
                let mut larger = Zeroizing::new(Vec::with_capacity(all.capacity() * 2 + n));
                larger.extend_from_slice(&all);
                all = larger;
            }
            all.extend_from_slice(&buffer[..n]);
        }
    }

    /// At most `cap` bytes from the front, as far as they come: for the body of
    /// an answer that is an error anyway.
    pub fn read_front(&mut self, cap: usize) -> Zeroizing<Vec<u8>> {
        let mut front = Zeroizing::new(vec![0; cap]);
        let mut filled = 0;
        while filled < cap {
            match self.read_some(&mut front[filled..]) {
                Ok(n) if n > 0 => filled += n,
                _ => break,
            }
        }
        front.truncate(filled);
        front
    }

    fn short(&self, expected: u64) -> Error {
        Error::Short { host: self.host.clone(), got: self.got, expected }
    }

    fn classify(&self, error: io::Error) -> Error {
        let fault = fault::classify(ureq::Error::from(error), &self.host, self.idle, self.idle);
        match (fault, self.length) {
            (Error::Broken { .. }, Some(expected)) => self.short(expected),
            // A record that TLS cannot open in mid-body is a broken line, not a
            // server that speaks something else.
            (Error::Protocol { host, what }, _) if what.starts_with("tls: ") => Error::Broken { host, cause: what },
            (fault, _) => fault,
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("host", &self.host).field("got", &self.got).finish_non_exhaustive()
    }
}
