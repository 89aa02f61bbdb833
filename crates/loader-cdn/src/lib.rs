//! The big part of a resource: read from any S3-compatible store, continued
//! where a connection breaks, checked against its receipt, kept in a cache that
//! nothing can climb out of.
//!
//! The crate `rust-s3` signs and names; the agent of `loader-http` carries every
//! byte.

mod beneath;
mod cache;
mod error;
mod expected;
mod journal;
mod line;
mod object;
mod part;
mod partial;
mod push;
mod sign;
mod store;
mod survey;
mod transfer;
mod upload;
mod xml;

pub use cache::{Beside, Cache, CacheError, Claim, Entry, Old};
pub use error::Error;
pub use expected::Expected;
pub use journal::Journal;
pub use line::JOBS_MAX;
pub use object::{GetPlan, Object, Start};
pub use part::{Ask, Part, Range, is_same_etag};
pub use partial::{Kept, Partial};
pub use push::{Push, PushPlan, Sent};
pub use store::{Meta, Store};
pub use survey::Survey;
pub use transfer::{Source, transfer};
pub use upload::{PART_LEN_MIN, PARTS_MAX};
