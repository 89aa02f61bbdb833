//! Response bodies: read to the announced end, or an error.

use crate::config::MAX_IDLE_PERIODS;
use crate::{Error, ureq_error};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use ureq::BodyReader;
use zeroize::Zeroizing;

/// Number of bytes that must arrive within [`MAX_IDLE_PERIODS`] idle timeouts of waiting.
const MIN_PROGRESS: u64 = 4 * 1024;

/// Reads a body exactly to the end that the server announced.
pub struct ResponseBody {
    reader: BodyReader<'static>,
    pub(crate) host: String,
    length: Option<u64>,
    /// True if a complete body can be distinguished from a closed connection.
    framed: bool,
    received: u64,
    idle: Duration,
    slow: SlowTransferDetector,
}

/// Bytes received, and time spent waiting for them, since the last time that
/// [`MIN_PROGRESS`] bytes were complete.
#[derive(Default)]
struct SlowTransferDetector {
    bytes: u64,
    waited: Duration,
}

impl SlowTransferDetector {
    /// Records `bytes` received after waiting `waited`. Returns false if the transfer
    /// is too slow.
    fn record(&mut self, bytes: usize, waited: Duration, idle: Duration) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes >= MIN_PROGRESS {
            *self = Self::default();
        }
        self.waited < idle * MAX_IDLE_PERIODS
    }
}

impl ResponseBody {
    pub(crate) fn new(
        reader: BodyReader<'static>,
        host: String,
        length: Option<u64>,
        framed: bool,
        idle: Duration,
    ) -> Self {
        Self { reader, host, length, framed, received: 0, idle, slow: SlowTransferDetector::default() }
    }

    /// Returns the number of bytes in the body according to `Content-Length`, or to
    /// [`ResponseBody::expect_length`]; `None` if neither is known.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// Sets the number of bytes of a body without a `Content-Length`, so that a body
    /// that ends earlier is an error. Does not override a `Content-Length`.
    pub fn expect_length(&mut self, length: u64) {
        self.length.get_or_insert(length);
    }

    /// Reads at most `buffer.len()` bytes and returns their number; 0 at the end.
    ///
    /// # Errors
    /// - [`Error::Short`] if the connection ended before the announced length.
    /// - [`Error::TimedOut`] if no byte arrived within the idle timeout, or less than
    ///   4 KiB within four idle timeouts. Only the time spent waiting here counts.
    /// - [`Error::Protocol`] if the response does not announce where the body ends, so
    ///   that a truncated body cannot be detected, has more bytes than announced or
    ///   expected, or is not valid HTTP.
    /// - [`Error::Broken`] if the connection broke.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let before = Instant::now();
        match self.reader.read(buffer) {
            Ok(0) if buffer.is_empty() => Ok(0),
            Ok(0) => match self.length {
                Some(expected) if self.received < expected => Err(self.short(expected)),
                None if !self.framed => {
                    let what = "response has no length, so a truncated body cannot be detected".to_owned();
                    Err(Error::Protocol { host: self.host.clone(), what })
                }
                _ => Ok(0),
            },
            Ok(n) if self.slow.record(n, before.elapsed(), self.idle) => {
                self.received += n as u64;
                match self.length {
                    Some(expected) if self.received > expected => {
                        let what = format!("response has more than the expected {expected} bytes");
                        Err(Error::Protocol { host: self.host.clone(), what })
                    }
                    _ => Ok(n),
                }
            }
            Ok(_) => {
                let (bytes, seconds) = (self.slow.bytes, self.slow.waited.as_secs());
                let what = format!("only {bytes} bytes in {seconds} s");
                Err(Error::TimedOut { host: self.host.clone(), what })
            }
            Err(error) => Err(self.classify(error)),
        }
    }

    /// Reads at most `buffer.len()` bytes for a caller that needs more bytes. Never
    /// returns 0 for a buffer that is not empty.
    ///
    /// # Errors
    /// [`Error::Short`] also at the end of a body without an announced length.
    /// Otherwise those of [`ResponseBody::read_some`].
    pub fn read_more(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.read_some(buffer)? {
            0 if !buffer.is_empty() => Err(self.short(self.received + buffer.len() as u64)),
            read => Ok(read),
        }
    }

    /// Reads the end of the body, so that the connection can be reused. Ignores a
    /// connection that fails here: all bytes have arrived.
    ///
    /// # Errors
    /// [`Error::Protocol`] if there are more bytes.
    pub fn expect_end(&mut self) -> Result<(), Error> {
        match self.read_some(&mut [0]) {
            Ok(1..) => {
                let what = format!("response has more than the expected {} bytes", self.received - 1);
                Err(Error::Protocol { host: self.host.clone(), what })
            }
            Err(error) if self.length.is_some_and(|expected| self.received > expected) => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads the complete body, at most `cap` bytes. The buffer is wiped on drop.
    ///
    /// # Errors
    /// [`Error::TooLong`] if the announced or the actual length exceeds `cap`.
    /// Otherwise those of [`ResponseBody::read_some`].
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
                // Vec would reallocate without wiping the old buffer.
                let mut larger = Zeroizing::new(Vec::with_capacity(all.capacity() * 2 + n));
                larger.extend_from_slice(&all);
                all = larger;
            }
            all.extend_from_slice(&buffer[..n]);
        }
    }

    /// Reads at most the first `cap` bytes of the body of an error response. Returns
    /// the bytes that arrived, even if the connection fails.
    pub fn read_prefix(&mut self, cap: usize) -> Zeroizing<Vec<u8>> {
        let mut prefix = Zeroizing::new(vec![0; cap]);
        let mut filled = 0;
        while filled < cap {
            match self.read_some(&mut prefix[filled..]) {
                Ok(n) if n > 0 => filled += n,
                _ => break,
            }
        }
        prefix.truncate(filled);
        prefix
    }

    fn short(&self, expected: u64) -> Error {
        Error::Short { host: self.host.clone(), got: self.received, expected }
    }

    fn classify(&self, error: io::Error) -> Error {
        let error = ureq_error::classify(ureq::Error::from(error), &self.host, self.idle, self.idle);
        match (error, self.length) {
            (Error::Broken { .. }, Some(expected)) => self.short(expected),
            // A TLS record that cannot be decrypted in the middle of a body means a broken
            // connection, not a server without TLS.
            (Error::Protocol { host, what }, _) if what.starts_with("tls: ") => Error::Broken { host, cause: what },
            (error, _) => error,
        }
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody")
            .field("host", &self.host)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
