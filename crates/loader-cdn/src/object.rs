//! Reads one object in order while several ranges are fetched concurrently.

use crate::object_range::ByteRange;
use crate::range_fetch::{AdaptivePlan, FetchMessage, MIN_CHUNK_LEN, ObjectVersion, RangeFetcher, worker};
use crate::{ByteSource, Error, ExpectedPart, GetRequest, ObjectRange, ObjectStore};
use loader_http::Notify;
use loader_model::ResourceName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, mpsc};

/// Number and length of the ranges in which an object is read. The default is adaptive; its
/// figures come from the measurements in crates/loader-cdn/README.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// Number of concurrent ranges; 1 reads the object with a single request.
    pub jobs: usize,
    /// Length of a range in bytes. Memory use is `jobs * chunk_len`.
    pub chunk_len: u64,
    /// True if the first ranges are short and later ones grow up to `chunk_len` with the measured
    /// throughput. If each connection is slow, up to [`crate::JOBS_MAX`] of them share the memory
    /// of `jobs` ranges.
    pub is_adaptive: bool,
}

impl Default for ReadPlan {
    fn default() -> Self {
        Self { jobs: 6, chunk_len: 2 << 20, is_adaptive: true }
    }
}

impl ReadPlan {
    fn first_len(&self) -> u64 {
        if self.is_adaptive { self.chunk_len.min(MIN_CHUNK_LEN) } else { self.chunk_len }
    }
}

/// Point at which reading starts; the default is the start of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Offset of the first byte.
    pub offset: u64,
    /// Strong ETag of the version from which the bytes before `offset` were read.
    pub etag: Option<String>,
}

/// Reader for the bytes of an object from an offset to its end.
///
/// All bytes come from one version of the object. This is ensured by its strong ETag, or by the
/// digest that the caller checks. Threads fetch ranges ahead of the reader, but never more than
/// the memory of the [`ReadPlan`]. After a broken connection a range is resumed at its next
/// missing byte.
pub struct ObjectReader<'a> {
    notify: Notify<'a>,
    etag: Option<String>,
    split_id: Option<String>,
    size: u64,
    position: u64,
    fetcher: Arc<RangeFetcher>,
    messages: mpsc::Receiver<FetchMessage>,
    /// Pieces received ahead of `position`, by offset.
    ahead: BTreeMap<u64, Vec<u8>>,
    /// The piece that the caller reads now.
    current: Vec<u8>,
    /// Returned once if all threads ended without a message.
    closed_error: Error,
}

impl<'a> ObjectReader<'a> {
    pub(crate) fn open(
        store: &ObjectStore,
        name: &ResourceName,
        plan: ReadPlan,
        start: &ResumePoint,
        expected: &ExpectedPart,
        notify: Notify<'a>,
    ) -> Result<Self, Error> {
        let first = first_response(store, name, plan, start, expected, notify)?;
        let (size, etag, split_id) = (first.total, first.strong_etag().map(str::to_owned), first.split_id.clone());
        if start.etag.is_some() && start.etag != etag {
            return Err(store.changed_error(name));
        }
        let has_digest = expected.sha256.is_some();
        let version = ObjectVersion { size, etag: etag.clone(), split_id: split_id.clone(), has_digest };
        let window = plan.chunk_len.saturating_mul(plan.jobs.max(1) as u64);
        let concurrent = plan.jobs > 1 && version.is_divisible() && first.len < size - start.offset;
        let (jobs, chunk_len) = if concurrent { (plan.jobs, plan.first_len()) } else { (1, size) };
        let chunk_len_max = (concurrent && plan.is_adaptive).then_some(plan.chunk_len);
        let plan = AdaptivePlan { chunk_len, jobs, chunk_len_max };
        let fetcher = RangeFetcher::new(store, name, version, start.offset, plan, window);
        let (fetcher, (to_reader, messages)) = (Arc::new(fetcher), mpsc::channel());
        let mut first = fetcher.next_chunk().map(|chunk| (chunk, first));
        for _ in 0..jobs {
            let (fetcher, to_reader, first) = (fetcher.clone(), to_reader.clone(), first.take());
            std::thread::Builder::new().spawn(move || worker(&fetcher, &to_reader, first)).map_err(Error::Input)?;
        }
        let closed_error = store.protocol_error(name, "reading stopped");
        let (position, ahead, current) = (start.offset, BTreeMap::new(), Vec::new());
        Ok(Self { notify, etag, split_id, size, position, fetcher, messages, ahead, current, closed_error })
    }

    /// Returns the size of the whole object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the strong ETag of this version, if the store sent one.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Returns the split id that was passed to [`crate::Push::begin`], if the store reports it.
    pub fn split_id(&self) -> Option<&str> {
        self.split_id.as_deref()
    }
}

/// Returns the response to the first request, which also contains size and version.
fn first_response(
    store: &ObjectStore,
    name: &ResourceName,
    plan: ReadPlan,
    start: &ResumePoint,
    expected: &ExpectedPart,
    notify: Notify<'_>,
) -> Result<ObjectRange, Error> {
    let end = (plan.jobs > 1).then(|| start.offset.saturating_add(plan.first_len()));
    let range = (start.offset > 0 || end.is_some()).then_some(ByteRange { start: start.offset, end });
    let mut request = GetRequest {
        if_range: start.etag.clone().filter(|_| range.is_some()),
        range,
        head: false,
        size: expected.size,
    };
    let mut attempts = store.http.attempts(notify);
    loop {
        match store.get_range(name, &request) {
            Ok(response) if response.total < start.offset => return Err(store.changed_error(name)),
            // Nothing could prove that the other ranges are of the same version, so read it in
            // one response.
            Ok(response)
                if response.start + response.len < response.total
                    && expected.sha256.is_none()
                    && response.strong_etag().is_none() =>
            {
                request.range = None;
            }
            Ok(response) if response.start == start.offset => return Ok(response),
            Ok(response) if start.etag.as_deref().is_none_or(|etag| response.strong_etag() == Some(etag)) => {
                match response.skip_to(start.offset) {
                    Ok(response) => return Ok(response),
                    Err(error) => attempts.wait_for_retry(error)?,
                }
            }
            Ok(_) => return Err(store.changed_error(name)),
            // An empty object satisfies no range.
            Err(Error::OutOfRange { .. }) if start.offset == 0 && request.range.is_some() => request.range = None,
            Err(Error::OutOfRange { .. }) if start.offset > 0 => return Err(store.changed_error(name)),
            Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
            Err(error) => return Err(error),
        }
    }
}

impl ByteSource for ObjectReader<'_> {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        self.fetcher.recycle(std::mem::take(&mut self.current));
        // The caller asks for more only after it has written the previous piece. Advancing the
        // position here, not earlier, limits the loss after a kill to one window.
        self.fetcher.set_read_position(self.position);
        while self.position < self.size {
            if let Some(bytes) = self.ahead.remove(&self.position) {
                self.position += bytes.len() as u64;
                self.current = bytes;
                break;
            }
            match self.messages.recv() {
                Ok(FetchMessage::Bytes { offset, bytes }) => drop(self.ahead.insert(offset, bytes)),
                Ok(FetchMessage::Retry(notice)) => (self.notify)(&notice),
                Ok(FetchMessage::Failed(error)) => return Err(error),
                Err(_) => {
                    return Err(std::mem::replace(&mut self.closed_error, Error::Config("no more to read".into())));
                }
            }
        }
        Ok(&self.current)
    }
}

impl Drop for ObjectReader<'_> {
    fn drop(&mut self) {
        self.fetcher.stop();
    }
}

impl fmt::Debug for ObjectReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader")
            .field("size", &self.size)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
