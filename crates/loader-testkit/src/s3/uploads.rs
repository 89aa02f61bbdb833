//! Multipart uploads that are not complete.

use s3s::dto::{CompletedPart, ETag, Part, Timestamp};
use s3s::{S3Result, s3_error};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Least length in bytes of a part that is not the last.
const PART_MIN: i64 = 5 * 1024 * 1024;

/// Most parts of an upload, and most that one answer lists.
const PARTS_MAX: i32 = 10_000;
const LISTED_MAX: i32 = 1000;

/// One upload: its object and the parts that have arrived.
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) begun: Timestamp,
    parts: BTreeMap<i32, Part>,
}

/// All uploads by their id.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Upload>>);

impl Uploads {
    /// The uploads, to be looked through.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an upload that has begun.
    pub(crate) fn begin(&self, id: &str, bucket: &str, key: &str) {
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), begun: now(), parts: BTreeMap::new() };
        self.lock().insert(id.to_owned(), upload);
    }

    /// Refuses an id that is not one of an open upload of this object.
    pub(crate) fn check(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        self.with(id, bucket, key, |_| ())
    }

    /// Refuses a part number outside 1 to 10 000, and what [`Self::check`] refuses.
    pub(crate) fn check_part(&self, id: &str, bucket: &str, key: &str, number: i32) -> S3Result<()> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part number is between 1 and 10000"));
        }
        self.check(id, bucket, key)
    }

    /// Remembers a part that has arrived, in place of one with the same number.
    pub(crate) fn add(&self, id: &str, number: i32, e_tag: Option<ETag>, size: Option<i64>) {
        if let Some(upload) = self.lock().get_mut(id) {
            let (part_number, last_modified) = (Some(number), Some(now()));
            upload.parts.insert(number, Part { part_number, size, e_tag, last_modified, ..Part::default() });
        }
    }

    /// The parts after `marker` in order, at most `max`, and whether there are more.
    pub(crate) fn parts(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
        marker: Option<i32>,
        max: Option<i32>,
    ) -> S3Result<(Vec<Part>, bool)> {
        let max = max.unwrap_or(LISTED_MAX).clamp(0, LISTED_MAX) as usize;
        let after = marker.unwrap_or(0).saturating_add(1);
        self.with(id, bucket, key, |upload| {
            let mut rest = upload.parts.range(after..).map(|(_, part)| part.clone());
            (rest.by_ref().take(max).collect(), rest.next().is_some())
        })
    }

    /// Refuses a list of parts that does not name what has arrived, before
    /// anything is changed.
    pub(crate) fn check_complete(&self, id: &str, bucket: &str, key: &str, listed: &[CompletedPart]) -> S3Result<()> {
        self.with(id, bucket, key, |upload| {
            for (i, part) in listed.iter().enumerate() {
                let arrived = part.part_number.and_then(|number| upload.parts.get(&number));
                let arrived = arrived.ok_or_else(|| s3_error!(InvalidPart, "a part has not arrived"))?;
                if part.e_tag.as_ref().map(ETag::value) != arrived.e_tag.as_ref().map(ETag::value) {
                    return Err(s3_error!(InvalidPart, "the ETag of a part does not match"));
                }
                if i + 1 < listed.len() && arrived.size < Some(PART_MIN) {
                    return Err(s3_error!(EntityTooSmall));
                }
            }
            match listed.iter().zip(1..).all(|(part, number)| part.part_number == Some(number)) {
                true => Ok(()),
                false => Err(s3_error!(InvalidPartOrder)),
            }
        })?
    }

    /// Forgets an upload that is complete or was given up.
    pub(crate) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    fn with<T>(&self, id: &str, bucket: &str, key: &str, look: impl FnOnce(&Upload) -> T) -> S3Result<T> {
        let uploads = self.lock();
        let upload = uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.map(look).ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
