//! `POST /images/load` with a body that stays open.

use crate::http::{self, lost};
use crate::progress::read_lines;
use crate::{Error, Host};
use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

/// Maximum time without progress: the engine does not read while the archive is sent, or does
/// not write while it unpacks. Podman writes nothing until it has finished.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Maximum wait for the reason after the engine closed the connection.
const CLOSE_REASON_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of bytes that are collected before they become a chunk of the body.
const CHUNK_LEN: usize = 256 * 1024;

/// Number of buffers that wait to be written.
const QUEUE_LEN: usize = 2;

const SENDING: &str = "while it was sent to";
const LOADING: &str = "while it loaded";

/// Progress that the engine reports while it loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The engine begins to unpack the layer with this id.
    Layer(String),
    /// Text about a loaded image.
    Loaded(String),
}

/// An archive that is being sent to the engine. If it is dropped before
/// [`Upload::commit`], the connection is closed and the engine tags nothing.
///
/// A separate thread writes, so that the caller can hash while the engine reads.
pub struct Upload {
    /// Bytes of the next chunk.
    gathered: Vec<u8>,
    /// Sends full buffers to the thread; `None` after the last one.
    full: Option<SyncSender<Vec<u8>>>,
    /// Returns empty buffers from the thread.
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<Wire, Error>>>,
    /// Clone of the connection, used to close it while the thread waits.
    stream: UnixStream,
}

impl Upload {
    /// Opens the request, without sending a byte of the archive.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NotPermitted`], [`Error::Gone`].
    pub fn begin(host: &Host) -> Result<Self, Error> {
        let wire = Wire::open(host)?;
        let failed = |error| lost(error, SENDING, PROGRESS_TIMEOUT);
        let stream = wire.stream.try_clone().map_err(failed)?;
        let (full, taken) = mpsc::sync_channel(QUEUE_LEN);
        let (given, empty) = mpsc::sync_channel(QUEUE_LEN + 1);
        let thread = std::thread::Builder::new().name("upload".to_owned()).stack_size(256 * 1024);
        let thread = thread.spawn(move || wire.write_all(&taken, &given)).map_err(failed)?;
        Ok(Self { gathered: Vec::new(), full: Some(full), empty, thread: Some(thread), stream })
    }

    /// Sends the next bytes of the archive; small pieces are gathered.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Silent`], or the error that the engine reported.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.gathered.extend(bytes);
        if self.gathered.len() < CHUNK_LEN { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.clear();
        let buffer = std::mem::replace(&mut self.gathered, buffer);
        match self.full.as_ref().map(|full| full.send(buffer)) {
            Some(Ok(())) => Ok(()),
            // The thread ends early only with an error, which `join` returns.
            _ => self.join().and(Err(lost(ErrorKind::BrokenPipe.into(), SENDING, PROGRESS_TIMEOUT))),
        }
    }

    /// Sends the remaining bytes and the end of the body, and waits until the engine has
    /// loaded everything. Calls `report` with its progress.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Full`] if the engine reports an error, with any
    /// status; errors of [`Upload::send`].
    pub fn commit(mut self, report: impl FnMut(Progress)) -> Result<(), Error> {
        if !self.gathered.is_empty() {
            self.hand_over()?;
        }
        let mut wire = self.join()?.ok_or_else(|| lost(ErrorKind::BrokenPipe.into(), SENDING, PROGRESS_TIMEOUT))?;
        wire.write(&mut [IoSlice::new(b"0\r\n\r\n")])?;
        read_loaded(&wire.stream, LOADING, PROGRESS_TIMEOUT, report)
    }

    /// Waits until the thread has written everything. Returns `None` after the first call.
    fn join(&mut self) -> Result<Option<Wire>, Error> {
        self.full = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.map(Some),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(None),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // The engine may have closed the connection already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// Connection for one load request.
struct Wire {
    stream: UnixStream,
}

impl Wire {
    fn open(host: &Host) -> Result<Self, Error> {
        let mut stream = http::connect(host, PROGRESS_TIMEOUT)?;
        let head = "POST /images/load?quiet=0 HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-tar\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).map_err(|error| lost(error, SENDING, PROGRESS_TIMEOUT))?;
        Ok(Self { stream })
    }

    /// Writes each buffer of `full` as a chunk until the channel is closed.
    fn write_all(mut self, full: &Receiver<Vec<u8>>, empty: &SyncSender<Vec<u8>>) -> Result<Self, Error> {
        for bytes in full {
            let head = format!("{:x}\r\n", bytes.len());
            self.write(&mut [head.as_bytes(), &bytes, b"\r\n"].map(IoSlice::new))?;
            // The receiver is gone if the load was aborted.
            let _ = empty.try_send(bytes);
        }
        Ok(self)
    }

    fn write(&mut self, mut pieces: &mut [IoSlice<'_>]) -> Result<(), Error> {
        while !pieces.is_empty() {
            match self.stream.write_vectored(pieces) {
                Ok(0) => return Err(lost(ErrorKind::WriteZero.into(), SENDING, PROGRESS_TIMEOUT)),
                Ok(written) => IoSlice::advance_slices(&mut pieces, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.close_reason(error)),
            }
        }
        Ok(())
    }

    /// Returns the reason why the engine closed the connection: its response if there is one,
    /// otherwise `error`.
    fn close_reason(&self, error: io::Error) -> Error {
        let lost = lost(error, SENDING, PROGRESS_TIMEOUT);
        if !matches!(lost, Error::Gone { .. }) {
            return lost;
        }
        let timeout = self.stream.set_read_timeout(Some(CLOSE_REASON_TIMEOUT));
        let answer = timeout.map(|()| read_loaded(&self.stream, SENDING, CLOSE_REASON_TIMEOUT, |_| {}));
        match answer {
            Ok(Err(said @ (Error::Refused(_) | Error::Full(_)))) => said,
            _ => lost,
        }
    }
}

fn read_loaded(
    stream: &UnixStream,
    when: &'static str,
    timeout: Duration,
    mut report: impl FnMut(Progress),
) -> Result<(), Error> {
    let stream = stream.try_clone().map_err(|error| lost(error, when, timeout))?;
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
                report(Progress::Loaded(text.trim().to_owned()));
            } else if let (Some("Loading layer"), Some(id)) = (line.status.as_deref(), &line.id)
                && layers.insert(id.clone())
            {
                report(Progress::Layer(id.clone()));
            }
        },
    );
    match (failed, good) {
        (Some(message), _) => Err(Error::from_message(&message)),
        (None, false) => Err(Error::from_message(&format!("HTTP status {}", answer.status))),
        (None, true) => read,
    }
}
