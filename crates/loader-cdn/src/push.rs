//! Multipart upload of a stream of unknown length: concurrent parts in bounded memory.

use crate::expected::{Hasher, sha256_hex};
use crate::upload::{MultipartUpload, ObjectLabels, PARTS_MAX, is_missing_upload};
use crate::upload_journal::{RecordedUpload, SentPart};
use crate::{Error, ObjectStore, UploadJournal, etags_match};
use loader_http::{Notify, RetryNotice};
use loader_model::{ResourceName, printable};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Mutex, PoisonError, mpsc};

/// Number and length of the parts in which a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushPlan {
    /// Number of concurrent parts.
    pub jobs: usize,
    /// Length of a part in bytes. Memory use is `(jobs + 1) * part_len`.
    pub part_len: u64,
    /// Release number to store in the metadata of the object.
    pub release: Option<u64>,
}

/// Sealed file to which the pushed big part belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedFile<'a> {
    /// SHA-256 of its small part in hexadecimal. An upload with another small part is not resumed.
    pub small_sha256: &'a str,
    /// Split id: the file and the offset at which it was split. It is stored in the metadata of
    /// the object.
    pub split_id: &'a str,
}

/// Upload in progress. If it is dropped before [`Push::complete`], it stays open on the store;
/// [`Push::abort`] cancels it.
#[derive(Debug)]
pub struct Push<'a> {
    upload: MultipartUpload<'a>,
    plan: PushPlan,
    journal: Option<UploadJournal>,
    /// Parts that an earlier run has sent.
    sent_before: BTreeMap<u32, SentPart>,
    /// ETag of the object, if an earlier run completed it.
    completed_etag: Option<String>,
    /// Id of this push, stored in the metadata of the object.
    push_id: String,
    is_resumed: bool,
}

/// Stream that was read to its end and sent in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentStream {
    /// Size of the stream in bytes.
    pub size: u64,
    /// SHA-256 of the stream, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Bytes that an earlier run had already sent.
    pub resumed: u64,
    parts: Vec<SentPart>,
}

/// Message from a sending thread to the thread that reads the input.
enum SendMessage {
    Retry(RetryNotice),
    PartDone { part: SentPart, buffer: Vec<u8>, is_new: bool },
    Failed(Error),
}

impl<'a> Push<'a> {
    /// Starts an upload of the big part of `name`, or resumes the one in `journal` if the store
    /// still has it and if it belongs to the same small part.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`] (no such bucket), [`Error::Cache`], and errors of
    /// the connection.
    pub fn begin(
        store: &'a ObjectStore,
        name: &'a ResourceName,
        plan: PushPlan,
        file: PushedFile<'_>,
        mut journal: Option<UploadJournal>,
        notify: Notify<'_>,
    ) -> Result<Self, Error> {
        if let Some(recorded) = journal.as_ref().and_then(UploadJournal::recorded).cloned() {
            let (id, has_checksums) = (recorded.id.clone(), recorded.has_checksums);
            let upload = MultipartUpload { store, name, id, has_checksums };
            if let Some(push) = Self::resume(upload, plan, file.small_sha256, &mut journal, recorded, notify)? {
                return Ok(push);
            }
        }
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Input(io::Error::other("no random bytes")))?;
        let push_id = hex::encode(random);
        let labels = ObjectLabels { release: plan.release, push_id: &push_id, split_id: file.split_id };
        let upload = MultipartUpload::begin(store, name, labels, notify)?;
        if let Some(journal) = &mut journal {
            journal.record_begin(&RecordedUpload {
                id: upload.id.clone(),
                part_len: plan.part_len,
                small_sha256: file.small_sha256.to_owned(),
                push_id: push_id.clone(),
                has_checksums: upload.has_checksums,
                ..RecordedUpload::default()
            })?;
        }
        let (sent_before, completed_etag) = (BTreeMap::new(), None);
        Ok(Self { upload, plan, journal, sent_before, completed_etag, push_id, is_resumed: false })
    }

    /// Resumes the upload of an earlier run with the parts that the store still has.
    fn resume(
        upload: MultipartUpload<'a>,
        plan: PushPlan,
        small_sha256: &str,
        journal: &mut Option<UploadJournal>,
        recorded: RecordedUpload,
        notify: Notify<'_>,
    ) -> Result<Option<Self>, Error> {
        let RecordedUpload { push_id, parts: mut sent_before, .. } = recorded;
        if recorded.part_len != plan.part_len || recorded.small_sha256 != small_sha256 {
            // No later run can use its parts.
            if recorded.completed_etag.is_none() {
                let _ = upload.abort();
            }
            return Ok(None);
        }
        let completed_etag = if let Some(etag) = recorded.completed_etag {
            let stored = upload.store.head(upload.name, notify);
            let is_same = stored.is_ok_and(|meta| match &meta.push_id {
                Some(stored_id) if !push_id.is_empty() => *stored_id == push_id,
                _ => meta.etag.is_some_and(|found| etags_match(&found, &etag)),
            });
            if !is_same {
                return Ok(None);
            }
            Some(etag)
        } else {
            match upload.parts(notify) {
                Ok(listed) => {
                    sent_before.retain(|_, part| part.is_listed_in(&listed));
                    None
                }
                Err(error) if is_missing_upload(&error) => {
                    // Maybe an earlier run completed it and ended before it recorded that.
                    let stored = upload.store.head(upload.name, notify).ok();
                    let own = stored.filter(|meta| !push_id.is_empty() && meta.push_id.as_ref() == Some(&push_id));
                    let Some(etag) = own.and_then(|meta| meta.etag) else { return Ok(None) };
                    Some(etag)
                }
                Err(error) => return Err(error),
            }
        };
        let journal = journal.take();
        Ok(Some(Self { upload, plan, journal, sent_before, completed_etag, push_id, is_resumed: true }))
    }

    /// Reads `input` to its end and sends it, except parts that an earlier run has sent. Calls
    /// `on_part_done` with the size of each finished part.
    ///
    /// # Errors
    /// [`Error::Input`] if the input fails; [`Error::Config`] if it has more than 10 000 parts;
    /// errors of the store and of the journal.
    pub fn send(
        &mut self,
        input: &mut dyn Read,
        notify: Notify<'_>,
        on_part_done: &dyn Fn(u64),
    ) -> Result<SentStream, Error> {
        let ((to_workers, queue), (to_reader, messages)) = (mpsc::channel(), mpsc::channel());
        let Self { upload, plan, journal, sent_before, completed_etag, .. } = self;
        let jobs = plan.jobs.max(1);
        let mut tracker = PartTracker { free_count: jobs + 1, buffers: Vec::new(), parts: BTreeMap::new(), resumed: 0 };
        let mut hasher = Hasher::new();
        let sender = PartSender {
            queue: Mutex::new(queue),
            upload,
            sent_before,
            is_completed: completed_etag.is_some(),
            journal: Mutex::new(journal.as_mut()),
        };
        std::thread::scope(|scope| {
            let (to_workers, messages) = (to_workers, messages);
            for _ in 0..jobs {
                let (sender, to_reader) = (&sender, to_reader.clone());
                let worker = move || sender.run(&to_reader);
                std::thread::Builder::new().spawn_scoped(scope, worker).map_err(Error::Input)?;
            }
            drop(to_reader);
            let mut number = 0;
            loop {
                while tracker.free_count == 0 || number > 0 {
                    // Handle pending messages; wait for one only if no buffer is free.
                    let message = if tracker.free_count == 0 { messages.recv().ok() } else { messages.try_recv().ok() };
                    let Some(message) = message else { break };
                    tracker.handle(message, notify, on_part_done)?;
                }
                let mut buffer = tracker.buffers.pop().unwrap_or_default();
                fill(input, &mut buffer, plan.part_len).map_err(Error::Input)?;
                hasher.update(&buffer);
                let is_last = (buffer.len() as u64) < plan.part_len;
                if !buffer.is_empty() || number == 0 {
                    number += 1;
                    if number > PARTS_MAX {
                        return Err(Error::Config(format!("more than {PARTS_MAX} parts of {} bytes", plan.part_len)));
                    }
                    tracker.free_count -= 1;
                    let _ = to_workers.send((number, buffer));
                }
                if is_last {
                    break;
                }
            }
            drop(to_workers);
            for message in messages {
                tracker.handle(message, notify, on_part_done)?;
            }
            Ok(())
        })?;
        let parts = tracker.parts.into_values().collect();
        Ok(SentStream { size: hasher.size(), sha256: hasher.finish_hex(), resumed: tracker.resumed, parts })
    }

    /// Completes the object, verifies its metadata, and returns its ETag and the journal, which
    /// the caller removes after the release is published.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the store has another object; errors of the store.
    pub fn complete(
        mut self,
        sent: &SentStream,
        notify: Notify<'_>,
    ) -> Result<(Option<String>, Option<UploadJournal>), Error> {
        let MultipartUpload { store, name, .. } = self.upload;
        let etag = match self.completed_etag.take() {
            Some(etag) => Some(etag),
            None => self.upload.complete(&sent.parts, self.is_resumed, notify)?,
        };
        let stored = store.head(name, notify)?;
        let mismatch = |cause| Error::Mismatch { what: name.big_key(), cause };
        if let Some(size) = stored.size.filter(|size| *size != sent.size) {
            return Err(mismatch(format!("the CDN has {size} bytes after {} were sent", sent.size)));
        }
        // Compare the push id if the store keeps it: the ETag may differ between the nodes of the
        // store.
        match (&stored.push_id, &etag, &stored.etag) {
            (Some(push_id), ..) if *push_id == self.push_id => {}
            (None, Some(etag), Some(found)) if !etags_match(etag, found) => {
                let (found, etag) = (printable(found), printable(etag));
                return Err(mismatch(format!("the object on the CDN has ETag {found} after {etag} was sent")));
            }
            (None, Some(_), Some(_)) => {}
            (None, Some(_), None) if stored.size.is_some() => {}
            _ => return Err(mismatch("the object on the CDN belongs to another push".to_owned())),
        }
        if let (Some(journal), Some(etag)) = (&mut self.journal, &stored.etag) {
            journal.record_complete(etag)?;
        }
        Ok((stored.etag, self.journal))
    }

    /// Ends a failed push. Without a journal, the upload is cancelled so that its parts cost
    /// nothing; with a journal, it stays open to be resumed.
    ///
    /// # Errors
    /// Errors of the store; one attempt is made.
    pub fn abort(self) -> Result<(), Error> {
        if self.journal.is_some() || self.completed_etag.is_some() { Ok(()) } else { self.upload.abort() }
    }

    /// Returns true if a later run can resume this upload.
    pub fn is_resumable(&self) -> bool {
        self.journal.is_some()
    }
}

/// Buffers and parts, tracked by the thread that reads the input.
struct PartTracker {
    /// Number of buffers that may be filled.
    free_count: usize,
    /// Allocated buffers to reuse.
    buffers: Vec<Vec<u8>>,
    parts: BTreeMap<u32, SentPart>,
    /// Bytes that an earlier run had already sent.
    resumed: u64,
}

impl PartTracker {
    fn handle(&mut self, message: SendMessage, notify: Notify<'_>, on_part_done: &dyn Fn(u64)) -> Result<(), Error> {
        match message {
            SendMessage::Retry(notice) => notify(&notice),
            SendMessage::Failed(error) => return Err(error),
            SendMessage::PartDone { part, buffer, is_new } => {
                self.free_count += 1;
                self.buffers.push(buffer);
                on_part_done(part.size);
                if !is_new {
                    self.resumed += part.size;
                }
                self.parts.insert(part.number, part);
            }
        }
        Ok(())
    }
}

/// State that the sending threads share.
struct PartSender<'a, 'u> {
    /// Part numbers with their bytes.
    queue: Mutex<mpsc::Receiver<(u32, Vec<u8>)>>,
    upload: &'a MultipartUpload<'u>,
    sent_before: &'a BTreeMap<u32, SentPart>,
    /// True if an earlier run completed the object, so that no other bytes may follow.
    is_completed: bool,
    journal: Mutex<Option<&'a mut UploadJournal>>,
}

impl PartSender<'_, '_> {
    /// Sends parts until the queue is closed, one fails, or the receiver was dropped.
    fn run(&self, to_reader: &mpsc::Sender<SendMessage>) {
        let notify = |notice: &RetryNotice| drop(to_reader.send(SendMessage::Retry(notice.clone())));
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, buffer)) = next else { return };
            let message = self.send_part(number, buffer, &notify).unwrap_or_else(SendMessage::Failed);
            let is_failed = matches!(message, SendMessage::Failed(_));
            if to_reader.send(message).is_err() || is_failed {
                return;
            }
        }
    }

    /// Sends one part, unless an earlier run has sent the same bytes.
    fn send_part(&self, number: u32, buffer: Vec<u8>, notify: Notify<'_>) -> Result<SendMessage, Error> {
        let (sha256, size) = (sha256_hex(&buffer), buffer.len() as u64);
        let earlier = self.sent_before.get(&number).filter(|part| part.size == size && part.sha256 == sha256);
        if let Some(part) = earlier {
            return Ok(SendMessage::PartDone { part: part.clone(), buffer, is_new: false });
        }
        if self.is_completed {
            return Err(Error::Mismatch {
                what: self.upload.name.big_key(),
                cause: "an earlier run has sent different bytes after the same header".to_owned(),
            });
        }
        let etag = self.upload.put(number, &buffer, &sha256, notify)?;
        let part = SentPart { number, size, sha256, etag };
        // Record it before the next part starts, so that a kill costs at most one part per thread.
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = journal.as_mut() {
            journal.record_part(&part)?;
        }
        Ok(SendMessage::PartDone { part, buffer, is_new: true })
    }
}

/// Fills `buffer` with the next `len` bytes of `input`, or fewer at its end.
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
