//! A stream of unknown length into an object: parts side by side, in bounded memory.

use crate::expected::{Tally, hex, sha256_hex};
use crate::journal::{Known, SentPart};
use crate::upload::{PARTS_MAX, Upload, is_gone};
use crate::{Error, Journal, Store, is_same_etag};
use loader_http::{Notify, RetryNotice};
use loader_model::{ResourceName, printable};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Mutex, PoisonError, mpsc};

/// How a stream is cut and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushPlan {
    /// Parts sent at the same time.
    pub jobs: usize,
    /// Length of a part in bytes. Memory: `jobs + 1` parts.
    pub part_len: u64,
    /// The release that the store is to tell of the object.
    pub release: Option<u64>,
}

/// An upload in progress. Dropped before [`Push::complete`], it stays open on
/// the store; [`Push::abort`] gives it up.
#[derive(Debug)]
pub struct Push<'a> {
    upload: Upload<'a>,
    plan: PushPlan,
    journal: Option<Journal>,
    known: BTreeMap<u32, SentPart>,
    done: Option<String>,
    /// What the object will say of the push that made it.
    mark: String,
    begun_before: bool,
}

/// What was read from the stream and is with the store, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the stream.
    pub size: u64,
    /// SHA-256 of the stream, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Bytes that an earlier run had sent.
    pub resumed: u64,
    parts: Vec<SentPart>,
}

enum Report {
    Retry(RetryNotice),
    Part { part: SentPart, buffer: Vec<u8>, sent: bool },
    Failed(Error),
}

impl<'a> Push<'a> {
    /// Begins an upload of the big part of `name`, or takes up the one in
    /// `journal` where the store still has it. `small` is the SHA-256 of
    /// the small part that goes with what will be sent: an upload of another stream
    /// is not taken up. `cut` is what the object will say of the file it is cut from.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`] (no such bucket), [`Error::Cache`]
    /// and those of the connection.
    pub fn begin(
        store: &'a Store,
        name: &'a ResourceName,
        plan: PushPlan,
        (small, cut): (&str, &str),
        mut journal: Option<Journal>,
        notify: Notify<'_>,
    ) -> Result<Self, Error> {
        if let Some(known) = journal.as_ref().and_then(Journal::known).cloned() {
            let upload = Upload { store, name, id: known.id.clone(), has_checksums: known.has_checksums };
            if let Some(push) = Self::take_up(upload, plan, small, &mut journal, known, notify)? {
                return Ok(push);
            }
        }
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Source(io::Error::other("no random bytes")))?;
        let push = hex(&random);
        let upload = Upload::begin(store, name, plan.release, (&push, cut), notify)?;
        if let Some(journal) = &mut journal {
            let (id, stream, push) = (upload.id.clone(), small.to_owned(), push.clone());
            let (part_len, has_checksums) = (plan.part_len, upload.has_checksums);
            journal.begin(&Known { id, part_len, stream, push, has_checksums, ..Known::default() })?;
        }
        Ok(Self { upload, plan, journal, known: BTreeMap::new(), done: None, mark: push, begun_before: false })
    }

    /// The upload of an earlier run, with those of its parts that the store has.
    fn take_up(
        upload: Upload<'a>,
        plan: PushPlan,
        stream: &str,
        journal: &mut Option<Journal>,
        known: Known,
        notify: Notify<'_>,
    ) -> Result<Option<Self>, Error> {
        if known.part_len != plan.part_len || known.stream != stream {
            // Its parts cannot be used, and nobody will come back for them.
            if known.complete.is_none() {
                let _ = upload.abort();
            }
            return Ok(None);
        }
        if let Some(etag) = known.complete {
            let there = upload.store.head(upload.name, notify);
            let same = there.is_ok_and(|meta| match &meta.push {
                Some(push) if !known.push.is_empty() => *push == known.push,
                _ => meta.etag.is_some_and(|found| is_same_etag(&found, &etag)),
            });
            let journal = journal.take_if(|_| same);
            let (done, mark) = (Some(etag), known.push);
            return Ok(same.then(|| Self {
                upload,
                plan,
                journal,
                known: known.parts,
                done,
                mark,
                begun_before: true,
            }));
        }
        let listed = match upload.parts(notify) {
            Ok(listed) => listed,
            Err(error) if is_gone(&error) => {
                // Completed by a run that ended before it could write that down?
                let there = upload.store.head(upload.name, notify);
                let own = there.ok().filter(|meta| !known.push.is_empty() && meta.push.as_ref() == Some(&known.push));
                let Some(etag) = own.and_then(|meta| meta.etag) else { return Ok(None) };
                let (journal, known, mark, done) = (journal.take(), known.parts, known.push, Some(etag));
                return Ok(Some(Self { upload, plan, journal, known, done, mark, begun_before: true }));
            }
            Err(error) => return Err(error),
        };
        let mut parts = known.parts;
        parts.retain(|_, part| part.is_in(&listed));
        let (journal, mark) = (journal.take(), known.push);
        Ok(Some(Self { upload, plan, journal, known: parts, done: None, mark, begun_before: true }))
    }

    /// Reads `input` to its end and sends it, save for parts that are there
    /// already. Calls `passed` with the bytes of each part that is done.
    ///
    /// # Errors
    /// [`Error::Source`] where the input fails; [`Error::Config`] where it has
    /// more than 10 000 parts; those of the store and of the journal.
    pub fn send(&mut self, input: &mut dyn Read, notify: Notify<'_>, passed: &dyn Fn(u64)) -> Result<Sent, Error> {
        let (jobs, reports) = (mpsc::channel::<(u32, Vec<u8>)>(), mpsc::channel::<Report>());
        let queue = Mutex::new(jobs.1);
        let Self { upload, plan, journal, known, done, .. } = self;
        let mut desk = Desk { free: plan.jobs.max(1) + 1, idle: Vec::new(), parts: BTreeMap::new(), resumed: 0 };
        let mut tally = Tally::new();
        let journal = &Mutex::new(journal.as_mut());
        std::thread::scope(|scope| {
            let (to_workers, from_workers) = (jobs.0, reports.1);
            for _ in 0..plan.jobs.max(1) {
                let (queue, reports, upload, known, done) = (&queue, reports.0.clone(), &*upload, &*known, &*done);
                let work = move || work(queue, &reports, upload, known, (done.is_some(), journal));
                std::thread::Builder::new().spawn_scoped(scope, work).map_err(Error::Source)?;
            }
            drop(reports.0);
            let mut number = 0;
            loop {
                while desk.free == 0 || number > 0 {
                    // What has come is looked at; where no buffer is free, waited for.
                    let report = if desk.free == 0 { from_workers.recv().ok() } else { from_workers.try_recv().ok() };
                    let Some(report) = report else { break };
                    desk.take(report, notify, passed)?;
                }
                let mut buffer = desk.idle.pop().unwrap_or_default();
                fill(input, &mut buffer, plan.part_len).map_err(Error::Source)?;
                tally.update(&buffer);
                let last = (buffer.len() as u64) < plan.part_len;
                if !buffer.is_empty() || number == 0 {
                    number += 1;
                    if number > PARTS_MAX {
                        return Err(Error::Config(format!("more than {PARTS_MAX} parts of {} bytes", plan.part_len)));
                    }
                    desk.free -= 1;
                    let _ = to_workers.send((number, buffer));
                }
                if last {
                    break;
                }
            }
            drop(to_workers);
            for report in from_workers {
                desk.take(report, notify, passed)?;
            }
            Ok(())
        })?;
        let parts = desk.parts.into_values().collect();
        Ok(Sent { size: tally.size(), sha256: tally.hex(), resumed: desk.resumed, parts })
    }

    /// Makes the object of what was sent, reads back what the store says of it,
    /// and gives its ETag and the journal, which is to be removed when the
    /// release is out.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the object is another; those of the store.
    pub fn complete(mut self, sent: &Sent, notify: Notify<'_>) -> Result<(Option<String>, Option<Journal>), Error> {
        let Upload { store, name, .. } = self.upload;
        let etag = match self.done.take() {
            Some(etag) => Some(etag),
            None => self.upload.complete(&sent.parts, self.begun_before, notify)?,
        };
        let there = store.head(name, notify)?;
        let what = || name.big_key();
        if there.size != sent.size {
            let cause = format!("{} bytes on the CDN after {} were sent", there.size, sent.size);
            return Err(Error::Mismatch { what: what(), cause });
        }
        // The name of the push decides, if the store keeps it: an ETag may differ from one
        // node of the store to the next.
        match (&there.push, &etag, &there.etag) {
            (Some(push), ..) if *push == self.mark => {}
            (None, Some(etag), Some(found)) if !is_same_etag(etag, found) => {
                let cause = format!("ETag on the CDN is {} after {} was sent", printable(found), printable(etag));
                return Err(Error::Mismatch { what: what(), cause });
            }
            (None, Some(_), _) => {}
            _ => {
                let cause = "the object on the CDN is that of another push".to_owned();
                return Err(Error::Mismatch { what: what(), cause });
            }
        }
        if let (Some(journal), Some(etag)) = (&mut self.journal, &there.etag) {
            journal.complete(etag)?;
        }
        Ok((there.etag, self.journal))
    }

    /// Ends a push that failed: without a journal the upload is given up, so that
    /// its parts cost nothing; with one it stays, to be taken up.
    ///
    /// # Errors
    /// Those of the store; one attempt is made.
    pub fn abort(self) -> Result<(), Error> {
        if self.journal.is_some() || self.done.is_some() { Ok(()) } else { self.upload.abort() }
    }

    /// True where a later run can take this upload up.
    pub fn is_resumable(&self) -> bool {
        self.journal.is_some()
    }
}

/// What the thread that reads keeps an eye on.
struct Desk {
    /// Buffers that may be filled.
    free: usize,
    idle: Vec<Vec<u8>>,
    parts: BTreeMap<u32, SentPart>,
    resumed: u64,
}

impl Desk {
    fn take(&mut self, report: Report, notify: Notify<'_>, passed: &dyn Fn(u64)) -> Result<(), Error> {
        match report {
            Report::Retry(notice) => notify(&notice),
            Report::Failed(error) => return Err(error),
            Report::Part { part, buffer, sent } => {
                self.free += 1;
                self.idle.push(buffer);
                passed(part.size);
                if !sent {
                    self.resumed += part.size;
                }
                self.parts.insert(part.number, part);
            }
        }
        Ok(())
    }
}

/// Sends parts until there are no more, or nobody wants to hear of them.
fn work(
    queue: &Mutex<mpsc::Receiver<(u32, Vec<u8>)>>,
    reports: &mpsc::Sender<Report>,
    upload: &Upload<'_>,
    known: &BTreeMap<u32, SentPart>,
    (complete, journal): (bool, &Mutex<Option<&mut Journal>>),
) {
    let notify = |notice: &RetryNotice| drop(reports.send(Report::Retry(notice.clone())));
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, buffer)) = next else { return };
        let (sha256, size) = (sha256_hex(&buffer), buffer.len() as u64);
        let there = known.get(&number).filter(|part| part.size == size && part.sha256 == sha256);
        let report = match there {
            Some(part) => Report::Part { part: part.clone(), buffer, sent: false },
            None if complete => Report::Failed(Error::Mismatch {
                what: upload.name.big_key(),
                cause: "an earlier run has sent other bytes behind the same header".to_owned(),
            }),
            None => match upload.put(number, &buffer, &sha256, &notify) {
                Ok(etag) => {
                    let part = SentPart { number, size, sha256, etag };
                    // Before the next part is begun: a kill costs one part a thread.
                    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                    match journal.as_mut().map_or(Ok(()), |journal| journal.sent(&part)) {
                        Ok(()) => Report::Part { part, buffer, sent: true },
                        Err(error) => Report::Failed(error.into()),
                    }
                }
                Err(error) => Report::Failed(error),
            },
        };
        let failed = matches!(report, Report::Failed(_));
        if reports.send(report).is_err() || failed {
            return;
        }
    }
}

/// `buffer` with the next `len` bytes of `input`, fewer only at its end.
fn fill(input: &mut dyn Read, buffer: &mut Vec<u8>, len: u64) -> io::Result<()> {
    buffer.clear();
    buffer.reserve_exact(len as usize);
    loop {
        match Read::take(&mut *input, len - buffer.len() as u64).read_to_end(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome.map(drop),
        }
    }
}
