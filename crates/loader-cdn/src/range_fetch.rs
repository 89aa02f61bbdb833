//! Threads that fetch ranges of one object, and their shared state.

use crate::object_range::ByteRange;
use crate::{Error, GetRequest, ObjectRange, ObjectStore};
use loader_http::RetryNotice;
use loader_model::ResourceName;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Length in bytes of a piece that is passed to the reader.
const PIECE_LEN: usize = 256 * 1024;

/// Minimum length of a range in bytes, and the initial length in an adaptive plan.
pub(crate) const MIN_CHUNK_LEN: u64 = PIECE_LEN as u64;

/// Maximum number of concurrent ranges in an adaptive plan.
pub const JOBS_MAX: usize = 16;

/// Throughput of one connection in bytes per second below which another one is opened.
const SLOW_CONNECTION_RATE: u64 = 1 << 20;

/// Length and number of the ranges, adapted to the measured throughput.
pub(crate) struct AdaptivePlan {
    /// Length of the next range in bytes.
    pub(crate) chunk_len: u64,
    /// Number of threads that fetch ranges.
    pub(crate) jobs: usize,
    /// Maximum length of a range in bytes; `None` if the plan is fixed.
    pub(crate) chunk_len_max: Option<u64>,
}

impl AdaptivePlan {
    /// Records that a range of `len` bytes took `spent` of waiting for the network, and sets the
    /// length of the next ranges to the bytes that a connection carries in one second. Returns
    /// true if another connection may help.
    fn record_rate(&mut self, len: u64, spent: Duration) -> bool {
        let Some(chunk_len_max) = self.chunk_len_max else { return false };
        let rate = (len as f64 / spent.as_secs_f64().max(1e-6)) as u64;
        self.chunk_len = (rate / MIN_CHUNK_LEN * MIN_CHUNK_LEN).max(MIN_CHUNK_LEN).min(chunk_len_max);
        let more = rate < SLOW_CONNECTION_RATE && self.jobs < JOBS_MAX;
        self.jobs += usize::from(more);
        more
    }
}

/// Message from a fetching thread to the reader.
pub(crate) enum FetchMessage {
    /// Bytes of the object.
    Bytes { offset: u64, bytes: Vec<u8> },
    /// A range will be requested again.
    Retry(RetryNotice),
    /// A range cannot be fetched.
    Failed(Error),
}

/// Shared state of the threads that fetch one version of an object.
pub(crate) struct RangeFetcher {
    store: ObjectStore,
    name: ResourceName,
    version: ObjectVersion,
    /// Maximum distance in bytes between the reader and a fetched byte.
    window: u64,
    cursor: Mutex<Cursor>,
    advanced: Condvar,
}

/// Identity of the object version that is read.
pub(crate) struct ObjectVersion {
    /// Size of the object in bytes.
    pub(crate) size: u64,
    /// Strong ETag.
    pub(crate) etag: Option<String>,
    /// Split id of the object.
    pub(crate) split_id: Option<String>,
    /// True if the reader checks the bytes against a digest. ETags may then differ between
    /// responses, as they do if each edge node creates its own.
    pub(crate) has_digest: bool,
}

impl ObjectVersion {
    /// Returns true if `response` may belong to this version.
    fn matches(&self, response: &ObjectRange) -> bool {
        let other_file =
            self.split_id.as_deref().zip(response.split_id.as_deref()).is_some_and(|(ours, its)| ours != its);
        response.total == self.size
            && !other_file
            && (self.has_digest || response.strong_etag() == self.etag.as_deref())
    }

    /// Returns true if the bytes may come from more than one response.
    pub(crate) fn is_divisible(&self) -> bool {
        self.has_digest || self.etag.is_some()
    }
}

/// Offsets of a range to fetch.
pub(crate) type Chunk = std::ops::Range<u64>;

struct Cursor {
    /// Offset of the first byte that is not assigned to a thread.
    next: u64,
    /// Offset of the next byte for the reader.
    read_position: u64,
    stopped: bool,
    plan: AdaptivePlan,
    /// Buffers to reuse.
    free_buffers: Vec<Vec<u8>>,
}

impl RangeFetcher {
    pub(crate) fn new(
        store: &ObjectStore,
        name: &ResourceName,
        version: ObjectVersion,
        start: u64,
        plan: AdaptivePlan,
        window: u64,
    ) -> Self {
        let cursor =
            Mutex::new(Cursor { next: start, read_position: start, stopped: false, plan, free_buffers: Vec::new() });
        let (store, name) = (store.clone(), name.clone());
        Self { store, name, version, window, cursor, advanced: Condvar::new() }
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the reader has consumed all bytes before `position`.
    pub(crate) fn set_read_position(&self, position: u64) {
        self.cursor().read_position = position;
        self.advanced.notify_all();
    }

    /// Returns a buffer for reuse.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= PIECE_LEN {
            self.cursor().free_buffers.push(buffer);
        }
    }

    /// Stops all threads: the reader was dropped.
    pub(crate) fn stop(&self) {
        self.cursor().stopped = true;
        self.advanced.notify_all();
    }

    /// Assigns the next range; `None` at the end of the object.
    pub(crate) fn next_chunk(&self) -> Option<Chunk> {
        let mut cursor = self.cursor();
        let start = cursor.next;
        cursor.next = self.version.size.min(start.saturating_add(cursor.plan.chunk_len.max(1)));
        (start < self.version.size && !cursor.stopped).then_some(start..cursor.next)
    }

    /// As [`AdaptivePlan::record_rate`]; returns false if all ranges are already assigned.
    fn record_rate(&self, len: u64, spent: Duration) -> bool {
        let mut cursor = self.cursor();
        cursor.next < self.version.size && cursor.plan.record_rate(len, spent)
    }

    /// Waits until `offset` is inside the window ahead of the reader and returns a buffer; `None`
    /// if the reader was dropped.
    fn wait_for_buffer(&self, offset: u64) -> Option<Vec<u8>> {
        let far = |cursor: &mut Cursor| !cursor.stopped && offset >= cursor.read_position.saturating_add(self.window);
        let mut cursor = self.advanced.wait_while(self.cursor(), far).unwrap_or_else(PoisonError::into_inner);
        if cursor.stopped {
            return None;
        }
        let mut buffer = cursor.free_buffers.pop().unwrap_or_default();
        buffer.resize(PIECE_LEN, 0);
        Some(buffer)
    }

    /// Requests the bytes from `position` to `end` and checks that they are of the same version.
    fn open(&self, position: u64, end: u64) -> Result<ObjectRange, Error> {
        let ObjectVersion { size, etag, has_digest, .. } = &self.version;
        let whole = position == 0 && end == *size;
        let range = (!whole).then_some(ByteRange { start: position, end: Some(end).filter(|end| end < size) });
        let if_range = range.as_ref().and(etag.clone()).filter(|_| !has_digest);
        let request = GetRequest { if_range, range, head: false, size: Some(*size) };
        let response = self.store.get_range(&self.name, &request)?;
        if !self.version.matches(&response) {
            return Err(self.store.changed_error(&self.name));
        }
        if response.start == position {
            return Ok(response);
        }
        // The store does not support ranges and sent the object from its first byte.
        Ok(response.skip_to(position)?)
    }
}

/// Fetches ranges until all are assigned, one fails, or the reader was dropped. `first` is an
/// assigned range with its response.
pub(crate) fn worker(
    fetcher: &Arc<RangeFetcher>,
    messages: &mpsc::Sender<FetchMessage>,
    mut first: Option<(Chunk, ObjectRange)>,
) {
    loop {
        let (chunk, response) = match first.take() {
            Some((chunk, response)) => (chunk, Some(response)),
            None => match fetcher.next_chunk() {
                Some(chunk) => (chunk, None),
                None => return,
            },
        };
        let len = chunk.end - chunk.start;
        match fetch(fetcher, messages, chunk, response) {
            Ok(Some(spent)) => {
                if fetcher.record_rate(len, spent) {
                    let (fetcher, messages) = (fetcher.clone(), messages.clone());
                    // If no thread can be started, the running ones are enough.
                    let _ = std::thread::Builder::new().spawn(move || worker(&fetcher, &messages, None));
                }
            }
            Ok(None) => return,
            Err(error) => return drop(messages.send(FetchMessage::Failed(error))),
        }
    }
}

/// Fetches one range and sends its bytes to the reader. Returns the time spent waiting for the
/// network; `None` if the reader was dropped.
fn fetch(
    fetcher: &RangeFetcher,
    messages: &mpsc::Sender<FetchMessage>,
    chunk: Chunk,
    mut response: Option<ObjectRange>,
) -> Result<Option<Duration>, Error> {
    let notify = |notice: &RetryNotice| drop(messages.send(FetchMessage::Retry(notice.clone())));
    let mut attempts = fetcher.store.http.attempts(&notify);
    let (Chunk { start: mut position, end }, mut spent) = (chunk, Duration::ZERO);
    while position < end {
        let Some(mut buffer) = fetcher.wait_for_buffer(position) else { return Ok(None) };
        let want = usize::try_from(end - position).unwrap_or(usize::MAX).min(PIECE_LEN);
        let mut filled = 0;
        let before = Instant::now();
        // A response may be shorter than its range.
        let outcome =
            match response.take().filter(|response| response.len > 0).map_or_else(|| fetcher.open(position, end), Ok) {
                Ok(opened) => response.insert(opened).fill(&mut buffer[..want], &mut filled).map_err(Error::Http),
                Err(error) => Err(error),
            };
        spent += before.elapsed();
        if let Err(Error::Http(error)) = &outcome
            && !error.is_transient()
        {
            // Do not pass on bytes of an invalid response.
            return outcome.map(|()| None);
        }
        attempts.record_progress(filled as u64);
        buffer.truncate(filled);
        if filled > 0 && messages.send(FetchMessage::Bytes { offset: position, bytes: buffer }).is_err() {
            return Ok(None);
        }
        position += filled as u64;
        match outcome {
            Ok(()) => {}
            Err(Error::Http(error)) => {
                response = None;
                if position > 0 && !fetcher.version.is_divisible() {
                    // Nothing could prove that the rest is of the same version.
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
    fn range_length_follows_the_throughput() {
        let mut plan = AdaptivePlan { chunk_len: MIN_CHUNK_LEN, jobs: 6, chunk_len_max: Some(2 << 20) };
        assert!(!plan.record_rate(MIN_CHUNK_LEN, Duration::from_millis(2)));
        assert_eq!((plan.chunk_len, plan.jobs), (2 << 20, 6));
        assert!(!plan.record_rate(2 << 20, Duration::from_millis(1500)));
        assert_eq!((plan.chunk_len, plan.jobs), (5 * MIN_CHUNK_LEN, 6));
        for jobs in 7..=JOBS_MAX {
            assert!(plan.record_rate(MIN_CHUNK_LEN, Duration::from_secs(1)));
            assert_eq!((plan.chunk_len, plan.jobs), (MIN_CHUNK_LEN, jobs));
        }
        assert!(!plan.record_rate(1, Duration::from_secs(9)));
        let mut fixed = AdaptivePlan { chunk_len: 7, jobs: 1, chunk_len_max: None };
        assert!(!fixed.record_rate(7, Duration::from_secs(9)) && fixed.chunk_len == 7);
    }
}
