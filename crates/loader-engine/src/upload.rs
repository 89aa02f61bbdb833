//! `POST /images/load` with a body that stays open.

use crate::answer::read_lines;
use crate::http::{self, lost};
use crate::{Error, Host};
use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the engine may take no byte while it is sent to, and say nothing
/// while it unpacks: podman is silent until it is done.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How long an engine that hung up may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Bytes that are gathered before they become a chunk of the body.
const CHUNK_LEN: usize = 64 * 1024;

const SENDING: &str = "while it was sent to";
const LOADING: &str = "while it loaded";

/// What the engine says while it loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It unpacks the layer that it calls by this id.
    Layer(String),
    /// It has loaded something.
    Loaded(String),
}

/// An archive on its way into the engine. Dropped before [`Upload::commit`], it
/// breaks the connection off, and the engine tags nothing.
pub struct Upload {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Upload {
    /// Opens the request; nothing is sent of the archive yet.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NotPermitted`], [`Error::Gone`].
    pub fn begin(host: &Host) -> Result<Self, Error> {
        let mut stream = http::connect(host, PATIENCE)?;
        let head = "POST /images/load?quiet=0 HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-tar\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).map_err(|error| lost(error, SENDING, PATIENCE))?;
        Ok(Self { stream, buffer: Vec::with_capacity(CHUNK_LEN) })
    }

    /// Sends the next bytes of the archive; small pieces are gathered.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Silent`], or what the engine said when it hung up.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + bytes.len() < CHUNK_LEN {
            self.buffer.extend(bytes);
            return Ok(());
        }
        self.write_chunk(bytes)
    }

    /// Sends what is left and the end of the body, and waits until the engine has
    /// loaded everything; `said` is told what it says on the way.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Full`] by the engine's own words, whatever
    /// its status was, else as for [`Upload::send`].
    pub fn commit(mut self, said: impl FnMut(Said)) -> Result<(), Error> {
        self.write_chunk(&[])?;
        self.write(&mut [IoSlice::new(b"0\r\n\r\n")])?;
        read_loaded(self.stream, LOADING, PATIENCE, said)
    }

    fn write_chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = self.buffer.len() + bytes.len();
        if len == 0 {
            return Ok(());
        }
        let head = format!("{len:x}\r\n");
        let buffer = std::mem::take(&mut self.buffer);
        let pieces = [head.as_bytes(), &buffer, bytes, b"\r\n"];
        let outcome = self.write(&mut pieces.map(IoSlice::new));
        self.buffer = buffer;
        self.buffer.clear();
        outcome
    }

    fn write(&mut self, mut pieces: &mut [IoSlice<'_>]) -> Result<(), Error> {
        while !pieces.is_empty() {
            match self.stream.write_vectored(pieces) {
                Ok(0) => return Err(lost(ErrorKind::WriteZero.into(), SENDING, PATIENCE)),
                Ok(written) => IoSlice::advance_slices(&mut pieces, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.last_words(error)),
            }
        }
        Ok(())
    }

    /// Why the engine hung up: its answer where it gave one, else `error`.
    fn last_words(&self, error: io::Error) -> Error {
        let lost = lost(error, SENDING, PATIENCE);
        if !matches!(lost, Error::Gone { .. }) {
            return lost;
        }
        let answer = self.stream.try_clone().and_then(|stream| {
            stream.set_read_timeout(Some(LAST_WORDS))?;
            Ok(read_loaded(stream, SENDING, LAST_WORDS, |_| {}))
        });
        match answer {
            Ok(Err(said @ (Error::Refused(_) | Error::Full(_)))) => said,
            _ => lost,
        }
    }
}

fn read_loaded(
    stream: UnixStream,
    when: &'static str,
    timeout: Duration,
    mut said: impl FnMut(Said),
) -> Result<(), Error> {
    let answer = http::read_answer(stream, when, timeout)?;
    let good = answer.status == 200;
    let mut failed: Option<String> = None;
    let mut layers = HashSet::new();
    let read = read_lines(
        answer.body,
        !good,
        |error| lost(error, when, timeout),
        |line| {
            if let Some(error) = line.error() {
                failed.get_or_insert_with(|| error.to_owned());
            } else if let Some(text) = &line.stream {
                said(Said::Loaded(text.trim().to_owned()));
            } else if let (Some("Loading layer"), Some(id)) = (line.status.as_deref(), &line.id)
                && layers.insert(id.clone())
            {
                said(Said::Layer(id.clone()));
            }
        },
    );
    match (failed, good) {
        (Some(message), _) => Err(Error::said(&message)),
        (None, false) => Err(Error::said(&format!("HTTP status {}", answer.status))),
        (None, true) => read,
    }
}
