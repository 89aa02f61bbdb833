//! The threads that fetch ranges of one object, and what they share.

use crate::part::Range;
use crate::{Ask, Error, Part, Store};
use loader_http::{Body, RetryNotice};
use loader_model::ResourceName;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

/// Bytes handed over at a time.
const PIECE_LEN: usize = 256 * 1024;

/// What a thread tells the reader.
pub(crate) enum Report {
    /// Bytes of the object.
    Bytes { offset: u64, bytes: Vec<u8> },
    /// A range will be asked for again.
    Retry(RetryNotice),
    /// A range does not come.
    Failed(Error),
}

/// One version of an object and how far it has been read.
pub(crate) struct Line {
    store: Store,
    name: ResourceName,
    size: u64,
    etag: Option<String>,
    chunk_len: u64,
    /// How far ahead of the reader bytes may be, in bytes.
    window: u64,
    place: Mutex<Place>,
    moved: Condvar,
}

/// First byte of a range, and first byte behind it.
pub(crate) type Chunk = (u64, u64);

struct Place {
    /// First byte that no thread fetches yet.
    next: u64,
    /// First byte that the reader has not taken.
    passed: u64,
    stopped: bool,
    /// Buffers to fill again.
    idle: Vec<Vec<u8>>,
}

impl Line {
    pub(crate) fn new(
        store: &Store,
        name: &ResourceName,
        (size, etag): (u64, Option<String>),
        start: u64,
        chunk_len: u64,
        window: u64,
    ) -> Self {
        let place = Mutex::new(Place { next: start, passed: start, stopped: false, idle: Vec::new() });
        let (store, name) = (store.clone(), name.clone());
        Self { store, name, size, etag, chunk_len: chunk_len.max(1), window, place, moved: Condvar::new() }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader has taken everything before `position`.
    pub(crate) fn passed(&self, position: u64) {
        self.place().passed = position;
        self.moved.notify_all();
    }

    /// The reader is done with a buffer.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= PIECE_LEN {
            self.place().idle.push(buffer);
        }
    }

    /// The reader has gone.
    pub(crate) fn stop(&self) {
        self.place().stopped = true;
        self.moved.notify_all();
    }

    /// The next range that nobody fetches; `None` at the end.
    pub(crate) fn next_chunk(&self) -> Option<Chunk> {
        let mut place = self.place();
        let start = place.next;
        place.next = self.size.min(start.saturating_add(self.chunk_len));
        (start < self.size && !place.stopped).then_some((start, place.next))
    }

    /// A buffer for the bytes at `offset`, once they are near enough to the
    /// reader; `None` where the reader has gone.
    fn buffer(&self, offset: u64) -> Option<Vec<u8>> {
        let far = |place: &mut Place| !place.stopped && offset >= place.passed.saturating_add(self.window);
        let mut place = self.moved.wait_while(self.place(), far).unwrap_or_else(PoisonError::into_inner);
        if place.stopped {
            return None;
        }
        let mut buffer = place.idle.pop().unwrap_or_default();
        buffer.resize(PIECE_LEN, 0);
        Some(buffer)
    }

    /// The bytes from `position` to `end`, of the same version.
    fn open(&self, position: u64, end: u64) -> Result<Part, Error> {
        let whole = position == 0 && end == self.size;
        let range = (!whole).then_some(Range { start: position, end: Some(end).filter(|end| *end < self.size) });
        let ask = Ask { if_range: range.as_ref().and(self.etag.clone()), range, head: false };
        let part = self.store.ask(&self.name, &ask)?;
        if part.total != self.size || part.strong_etag() != self.etag.as_deref() {
            return Err(self.store.changed(&self.name));
        }
        if part.start == position {
            return Ok(part);
        }
        // The same version from its first byte, from a store that does not
        // serve ranges: what stands before is read again and dropped.
        Ok(part.discarding(position)?)
    }
}

/// Fetches ranges until there are no more, or nobody wants to hear of them.
/// `first` is a range with the answer for it, where there is one already.
pub(crate) fn work(line: &Line, reports: &mpsc::Sender<Report>, mut first: Option<(Chunk, Part)>) {
    loop {
        let (chunk, part) = match first.take() {
            Some((chunk, part)) => (chunk, Some(part)),
            None => match line.next_chunk() {
                Some(chunk) => (chunk, None),
                None => return,
            },
        };
        match fetch(line, reports, chunk, part) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(reports.send(Report::Failed(error))),
        }
    }
}

/// Passes on the bytes from `start` to `end`; `false` where nobody takes them.
fn fetch(
    line: &Line,
    reports: &mpsc::Sender<Report>,
    (start, end): Chunk,
    mut part: Option<Part>,
) -> Result<bool, Error> {
    let notify = |notice: &RetryNotice| drop(reports.send(Report::Retry(notice.clone())));
    let mut attempts = line.store.http.attempts(&notify);
    let mut position = start;
    while position < end {
        let Some(mut buffer) = line.buffer(position) else { return Ok(false) };
        let want = usize::try_from(end - position).unwrap_or(usize::MAX).min(PIECE_LEN);
        let mut filled = 0;
        let outcome = match part.take().map_or_else(|| line.open(position, end), Ok) {
            Ok(opened) => fill(&mut part.insert(opened).body, &mut buffer[..want], &mut filled),
            Err(error) => Err(error),
        };
        attempts.progressed(filled as u64);
        buffer.truncate(filled);
        if filled > 0 && reports.send(Report::Bytes { offset: position, bytes: buffer }).is_err() {
            return Ok(false);
        }
        position += filled as u64;
        match outcome {
            Ok(()) => {}
            Err(Error::Http(error)) => {
                part = None;
                if position > 0 && line.etag.is_none() {
                    // Nothing says that the rest would be of the same version.
                    return Err(Error::Http(error));
                }
                attempts.again(error)?;
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(mut part) = part {
        // Seeing the end gives the connection back for the next range.
        let _ = part.body.read_some(&mut [0]);
    }
    Ok(true)
}

/// Fills `buffer` from `body`; `filled` counts the bytes that came, whatever the
/// outcome.
fn fill(body: &mut Body, buffer: &mut [u8], filled: &mut usize) -> Result<(), Error> {
    while *filled < buffer.len() {
        // A body is never shorter than its range, so it cannot end here.
        *filled += body.read_some(&mut buffer[*filled..])?;
    }
    Ok(())
}
