//! The threads that fetch ranges of one object, and what they share.

use crate::part::Range;
use crate::{Ask, Error, Part, Store};
use loader_http::RetryNotice;
use loader_model::ResourceName;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Bytes handed over at a time.
const PIECE_LEN: usize = 256 * 1024;

/// Length in bytes of the ranges that a plan that adapts begins with.
pub(crate) const SHORTEST: u64 = PIECE_LEN as u64;

/// Most ranges asked for at the same time where a plan adapts.
pub const JOBS_MAX: usize = 16;

/// Bytes a second of one connection below which one more is opened.
const SLOW: u64 = 1 << 20;

/// Length and number of the ranges, which follow the line.
pub(crate) struct Pace {
    /// Length in bytes of the next range.
    pub(crate) chunk_len: u64,
    /// Threads that fetch ranges.
    pub(crate) jobs: usize,
    /// Most bytes of a range; `None` where nothing changes.
    pub(crate) longest: Option<u64>,
}

impl Pace {
    /// Takes note that a range of `len` bytes took `spent` of waiting for the
    /// network: the next are as long as a connection carries in a second. True
    /// where one more connection may help.
    fn took(&mut self, len: u64, spent: Duration) -> bool {
        let Some(longest) = self.longest else { return false };
        let rate = (len as f64 / spent.as_secs_f64().max(1e-6)) as u64;
        self.chunk_len = (rate / SHORTEST * SHORTEST).max(SHORTEST).min(longest);
        let more = rate < SLOW && self.jobs < JOBS_MAX;
        self.jobs += usize::from(more);
        more
    }
}

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
    version: Version,
    /// How far ahead of the reader bytes may be, in bytes.
    window: u64,
    place: Mutex<Place>,
    moved: Condvar,
}

/// The version of an object whose ranges are read.
pub(crate) struct Version {
    /// Bytes of the object.
    pub(crate) size: u64,
    /// Strong ETag.
    pub(crate) etag: Option<String>,
    /// The file of which it is the big part.
    pub(crate) cut: Option<String>,
    /// True if the reader checks the bytes against a digest. Then an ETag need not tell
    /// versions apart, which it does not do if each edge node makes its own.
    pub(crate) has_digest: bool,
}

impl Version {
    /// True if `part` may be of this version.
    fn has(&self, part: &Part) -> bool {
        let other_file = self.cut.as_deref().zip(part.cut.as_deref()).is_some_and(|(here, there)| here != there);
        part.total == self.size && !other_file && (self.has_digest || part.strong_etag() == self.etag.as_deref())
    }

    /// True if the bytes may come from several answers.
    pub(crate) fn is_divisible(&self) -> bool {
        self.has_digest || self.etag.is_some()
    }
}

/// First byte of a range, and first byte behind it.
pub(crate) type Chunk = (u64, u64);

struct Place {
    /// First byte that no thread fetches yet.
    next: u64,
    /// First byte that the reader has not taken.
    passed: u64,
    stopped: bool,
    pace: Pace,
    /// Buffers to fill again.
    idle: Vec<Vec<u8>>,
}

impl Line {
    pub(crate) fn new(
        store: &Store,
        name: &ResourceName,
        version: Version,
        start: u64,
        pace: Pace,
        window: u64,
    ) -> Self {
        let place = Mutex::new(Place { next: start, passed: start, stopped: false, pace, idle: Vec::new() });
        let (store, name) = (store.clone(), name.clone());
        Self { store, name, version, window, place, moved: Condvar::new() }
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
        place.next = self.version.size.min(start.saturating_add(place.pace.chunk_len.max(1)));
        (start < self.version.size && !place.stopped).then_some((start, place.next))
    }

    /// As [`Pace::took`], where there is more to fetch.
    fn took(&self, len: u64, spent: Duration) -> bool {
        let mut place = self.place();
        place.next < self.version.size && place.pace.took(len, spent)
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
        let Version { size, etag, has_digest, .. } = &self.version;
        let whole = position == 0 && end == *size;
        let range = (!whole).then_some(Range { start: position, end: Some(end).filter(|end| end < size) });
        let if_range = range.as_ref().and(etag.clone()).filter(|_| !has_digest);
        let ask = Ask { if_range, range, head: false, size: Some(*size) };
        let part = self.store.ask(&self.name, &ask)?;
        if !self.version.has(&part) {
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
pub(crate) fn work(line: &Arc<Line>, reports: &mpsc::Sender<Report>, mut first: Option<(Chunk, Part)>) {
    loop {
        let (chunk, part) = match first.take() {
            Some((chunk, part)) => (chunk, Some(part)),
            None => match line.next_chunk() {
                Some(chunk) => (chunk, None),
                None => return,
            },
        };
        match fetch(line, reports, chunk, part) {
            Ok(Some(spent)) => {
                if line.took(chunk.1 - chunk.0, spent) {
                    let (line, reports) = (line.clone(), reports.clone());
                    // Where the system has no thread to spare, those that run are enough.
                    let _ = std::thread::Builder::new().spawn(move || work(&line, &reports, None));
                }
            }
            Ok(None) => return,
            Err(error) => return drop(reports.send(Report::Failed(error))),
        }
    }
}

/// Passes on the bytes from `start` to `end` and gives the time that the network
/// took; `None` where nobody takes them.
fn fetch(
    line: &Line,
    reports: &mpsc::Sender<Report>,
    (start, end): Chunk,
    mut part: Option<Part>,
) -> Result<Option<Duration>, Error> {
    let notify = |notice: &RetryNotice| drop(reports.send(Report::Retry(notice.clone())));
    let mut attempts = line.store.http.attempts(&notify);
    let (mut position, mut spent) = (start, Duration::ZERO);
    while position < end {
        let Some(mut buffer) = line.buffer(position) else { return Ok(None) };
        let want = usize::try_from(end - position).unwrap_or(usize::MAX).min(PIECE_LEN);
        let mut filled = 0;
        let before = Instant::now();
        // An answer may be shorter than its range.
        let outcome = match part.take().filter(|part| part.len > 0).map_or_else(|| line.open(position, end), Ok) {
            Ok(opened) => part.insert(opened).fill(&mut buffer[..want], &mut filled).map_err(Error::Http),
            Err(error) => Err(error),
        };
        spent += before.elapsed();
        if let Err(Error::Http(error)) = &outcome
            && !error.is_transient()
        {
            // Bytes of an answer that is wrong are not passed on.
            return outcome.map(|()| None);
        }
        attempts.record_progress(filled as u64);
        buffer.truncate(filled);
        if filled > 0 && reports.send(Report::Bytes { offset: position, bytes: buffer }).is_err() {
            return Ok(None);
        }
        position += filled as u64;
        match outcome {
            Ok(()) => {}
            Err(Error::Http(error)) => {
                part = None;
                if position > 0 && !line.version.is_divisible() {
                    // Nothing says that the rest would be of the same version.
                    return Err(Error::Http(error));
                }
                attempts.wait_for_retry(error)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(spent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_what_a_connection_carries() {
        let mut pace = Pace { chunk_len: SHORTEST, jobs: 6, longest: Some(2 << 20) };
        assert!(!pace.took(SHORTEST, Duration::from_millis(2)));
        assert_eq!((pace.chunk_len, pace.jobs), (2 << 20, 6));
        assert!(!pace.took(2 << 20, Duration::from_millis(1500)));
        assert_eq!((pace.chunk_len, pace.jobs), (5 * SHORTEST, 6));
        for jobs in 7..=JOBS_MAX {
            assert!(pace.took(SHORTEST, Duration::from_secs(1)));
            assert_eq!((pace.chunk_len, pace.jobs), (SHORTEST, jobs));
        }
        assert!(!pace.took(1, Duration::from_secs(9)));
        let mut fixed = Pace { chunk_len: 7, jobs: 1, longest: None };
        assert!(!fixed.took(7, Duration::from_secs(9)) && fixed.chunk_len == 7);
    }
}
