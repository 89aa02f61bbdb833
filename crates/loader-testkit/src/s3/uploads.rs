//! Incomplete multipart uploads.

use s3s::dto::{CompletedPart, ETag, Part, Timestamp};
use s3s::{S3Result, s3_error};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Minimum length in bytes of all parts except the last.
const PART_MIN: i64 = 5 * 1024 * 1024;

/// Maximum number of parts of an upload.
const PARTS_MAX: i32 = 10_000;

/// Maximum number of parts in one list.
const LISTED_MAX: i32 = 1000;

/// State of a multipart upload: its object and the received parts.
pub(crate) struct MultipartState {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated: Timestamp,
    parts: BTreeMap<i32, Part>,
}

/// All uploads by id.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, MultipartState>>);

impl Uploads {
    /// Locks and returns the uploads.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, MultipartState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a new upload.
    pub(crate) fn insert(&self, id: &str, bucket: &str, key: &str) {
        let upload =
            MultipartState { bucket: bucket.to_owned(), key: key.to_owned(), initiated: now(), parts: BTreeMap::new() };
        self.lock().insert(id.to_owned(), upload);
    }

    /// Refuses an id that does not belong to an open upload of this object.
    pub(crate) fn check(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        self.with(id, bucket, key, |_| ())
    }

    /// Refuses a part number outside 1 to 10 000. Otherwise like [`Self::check`].
    pub(crate) fn check_part(&self, id: &str, bucket: &str, key: &str, number: i32) -> S3Result<()> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part number must be between 1 and 10000"));
        }
        self.check(id, bucket, key)
    }

    /// Adds a received part. Replaces a part with the same number.
    pub(crate) fn add(&self, id: &str, number: i32, e_tag: Option<ETag>, size: Option<i64>) {
        if let Some(upload) = self.lock().get_mut(id) {
            let (part_number, last_modified) = (Some(number), Some(now()));
            upload.parts.insert(number, Part { part_number, size, e_tag, last_modified, ..Part::default() });
        }
    }

    /// Returns at most `max` parts after `marker`, in order, and whether there are more.
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

    /// Refuses a list of parts that does not match the received parts.
    pub(crate) fn check_complete(&self, id: &str, bucket: &str, key: &str, listed: &[CompletedPart]) -> S3Result<()> {
        self.with(id, bucket, key, |upload| {
            for (i, part) in listed.iter().enumerate() {
                let received = part.part_number.and_then(|number| upload.parts.get(&number));
                let received = received.ok_or_else(|| s3_error!(InvalidPart, "a part has not received"))?;
                if part.e_tag.as_ref().map(ETag::value) != received.e_tag.as_ref().map(ETag::value) {
                    return Err(s3_error!(InvalidPart, "the ETag of a part does not match"));
                }
                if i + 1 < listed.len() && received.size < Some(PART_MIN) {
                    return Err(s3_error!(EntityTooSmall));
                }
            }
            if listed.iter().zip(1..).all(|(part, number)| part.part_number == Some(number)) {
                Ok(())
            } else {
                Err(s3_error!(InvalidPartOrder))
            }
        })?
    }

    /// Removes an upload that was completed or aborted.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    fn with<T>(&self, id: &str, bucket: &str, key: &str, look: impl FnOnce(&MultipartState) -> T) -> S3Result<T> {
        let uploads = self.lock();
        let upload = uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.map(look).ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
