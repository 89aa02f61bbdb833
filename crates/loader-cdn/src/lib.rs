//! Access to the big part of a resource: reads it from any S3-compatible store, resumes after a
//! broken connection, checks it against its receipt and keeps it in a cache directory.
//!
//! The crate `rust-s3` computes signatures and URLs; all network I/O uses the agent of
//! `loader-http`.

mod cache;
mod cache_scan;
mod dir;
mod error;
mod expected;
mod object;
mod object_range;
mod partial_entry;
mod push;
mod range_fetch;
mod sign;
mod store;
mod transfer;
mod upload;
mod upload_journal;
mod xml;

pub use cache::{Cache, CacheEntry, CacheLookup, PreviousEntry, SmallPartContext};
pub use cache_scan::CacheScan;
pub use dir::WaitForLock;
pub use error::{CacheError, Error};
pub use expected::ExpectedPart;
pub use object::{ObjectReader, ReadPlan, ResumePoint};
pub use object_range::{ByteRange, GetRequest, ObjectRange, etags_match};
pub use partial_entry::{PartialEntry, ResumedBytes};
pub use push::{Push, PushPlan, PushedFile, SentStream};
pub use range_fetch::JOBS_MAX;
pub use store::{ObjectMeta, ObjectStore};
pub use transfer::{ByteSource, transfer};
pub use upload::{PART_LEN_MIN, PARTS_MAX};
pub use upload_journal::UploadJournal;
