//! An object read in order, from several ranges at a time.

use crate::line::{Line, Pace, Report, SHORTEST, Version, work};
use crate::part::Range;
use crate::{Ask, Error, Expected, Part, Source, Store};
use loader_http::Notify;
use loader_model::ResourceName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, mpsc};

/// How an object is read. The default follows the line; its figures are those
/// measured in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetPlan {
    /// Ranges asked for at the same time; 1 reads the object with one request.
    pub jobs: usize,
    /// Length of a range in bytes. Memory: `jobs` ranges.
    pub chunk_len: u64,
    /// True where ranges begin short and grow up to `chunk_len` as the line shows
    /// what it carries, and where up to [`crate::JOBS_MAX`] share the memory of `jobs` on
    /// a line that holds each connection back.
    pub adapts: bool,
}

impl Default for GetPlan {
    fn default() -> Self {
        Self { jobs: 6, chunk_len: 2 << 20, adapts: true }
    }
}

impl GetPlan {
    fn first_len(&self) -> u64 {
        if self.adapts { self.chunk_len.min(SHORTEST) } else { self.chunk_len }
    }
}

/// Where reading begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Offset of the first byte.
    pub offset: u64,
    /// Strong ETag of the version that the bytes before it are of.
    pub etag: Option<String>,
}

/// The bytes of an object from an offset to its end. Every byte comes from one
/// version of the object, as far as its ETag tells or else the digest that the caller
/// expects, and the end is where the store said it is. Threads
/// fetch ranges ahead of the reader, never more than the plan's memory; a range
/// whose line breaks goes on at its last byte.
pub struct Object<'a> {
    notify: Notify<'a>,
    etag: Option<String>,
    cut: Option<String>,
    size: u64,
    position: u64,
    line: Arc<Line>,
    reports: mpsc::Receiver<Report>,
    /// Bytes that came ahead of their turn, by offset.
    ahead: BTreeMap<u64, Vec<u8>>,
    lent: Vec<u8>,
    broken: Error,
}

impl<'a> Object<'a> {
    pub(crate) fn open(
        store: &Store,
        name: &ResourceName,
        plan: GetPlan,
        start: &Start,
        expected: &Expected,
        notify: Notify<'a>,
    ) -> Result<Self, Error> {
        let first = first_part(store, name, plan, start, expected, notify)?;
        let (size, etag, cut) = (first.total, first.strong_etag().map(str::to_owned), first.cut.clone());
        if start.etag.is_some() && start.etag != etag {
            return Err(store.changed(name));
        }
        let version = Version { size, etag: etag.clone(), cut: cut.clone(), has_digest: expected.sha256.is_some() };
        let side_by_side = plan.jobs > 1 && version.is_divisible() && first.len < size - start.offset;
        let (jobs, chunk_len) = if side_by_side { (plan.jobs, plan.first_len()) } else { (1, size) };
        let pace = Pace { chunk_len, jobs, longest: (side_by_side && plan.adapts).then_some(plan.chunk_len) };
        let window = plan.chunk_len.saturating_mul(plan.jobs.max(1) as u64);
        let line = Line::new(store, name, version, start.offset, pace, window);
        let (line, (to_reader, reports)) = (Arc::new(line), mpsc::channel());
        let mut first = line.next_chunk().map(|chunk| (chunk, first));
        for _ in 0..jobs {
            let (line, to_reader, first) = (line.clone(), to_reader.clone(), first.take());
            std::thread::Builder::new().spawn(move || work(&line, &to_reader, first)).map_err(Error::Source)?;
        }
        let broken = store.protocol(name, "reading stopped");
        let (position, ahead, lent) = (start.offset, BTreeMap::new(), Vec::new());
        Ok(Self { notify, etag, cut, size, position, line, reports, ahead, lent, broken })
    }

    /// Size of the whole object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The strong ETag of the version that is read, where the store gave one.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The file of which this is the big part, and where that was cut, as
    /// [`crate::Push::begin`] was told; `None` where the store does not tell.
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }
}

/// The answer to the first request, which tells size and version too.
fn first_part(
    store: &Store,
    name: &ResourceName,
    plan: GetPlan,
    start: &Start,
    expected: &Expected,
    notify: Notify<'_>,
) -> Result<Part, Error> {
    let end = (plan.jobs > 1).then(|| start.offset.saturating_add(plan.first_len()));
    let range = (start.offset > 0 || end.is_some()).then_some(Range { start: start.offset, end });
    let mut ask =
        Ask { if_range: start.etag.clone().filter(|_| range.is_some()), range, head: false, size: expected.size };
    let mut attempts = store.http.attempts(notify);
    loop {
        match store.ask(name, &ask) {
            Ok(part) if part.total < start.offset => return Err(store.changed(name)),
            // Nothing would prove that the other ranges are of the same version.
            Ok(part)
                if part.start + part.len < part.total && expected.sha256.is_none() && part.strong_etag().is_none() =>
            {
                ask.range = None;
            }
            Ok(part) if part.start == start.offset => return Ok(part),
            Ok(part) if start.etag.as_deref().is_none_or(|etag| part.strong_etag() == Some(etag)) => {
                match part.discarding(start.offset) {
                    Ok(part) => return Ok(part),
                    Err(error) => attempts.wait_for_retry(error)?,
                }
            }
            Ok(_) => return Err(store.changed(name)),
            // No range fits into an empty object.
            Err(Error::OutOfRange { .. }) if start.offset == 0 && ask.range.is_some() => ask.range = None,
            Err(Error::OutOfRange { .. }) if start.offset > 0 => return Err(store.changed(name)),
            Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
            Err(error) => return Err(error),
        }
    }
}

impl Source for Object<'_> {
    fn next_bytes(&mut self) -> Result<&[u8], Error> {
        self.line.give_back(std::mem::take(&mut self.lent));
        // Only now is the piece before written where it goes: what a kill costs is
        // never more than the window.
        self.line.passed(self.position);
        while self.position < self.size {
            if let Some(bytes) = self.ahead.remove(&self.position) {
                self.position += bytes.len() as u64;
                self.lent = bytes;
                break;
            }
            match self.reports.recv() {
                Ok(Report::Bytes { offset, bytes }) => drop(self.ahead.insert(offset, bytes)),
                Ok(Report::Retry(notice)) => (self.notify)(&notice),
                Ok(Report::Failed(error)) => return Err(error),
                Err(_) => return Err(std::mem::replace(&mut self.broken, Error::Config("no more to read".into()))),
            }
        }
        Ok(&self.lent)
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.line.stop();
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("size", &self.size).field("position", &self.position).finish_non_exhaustive()
    }
}
