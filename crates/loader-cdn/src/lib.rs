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
mod object;
mod part;
mod s3_error;
mod sign;
mod store;
mod transfer;

pub use cache::{Cache, CacheError, Claim, Entry, Partial};
pub use error::Error;
pub use expected::Expected;
pub use object::Object;
pub use part::{Ask, Part, Range};
pub use store::{Meta, Store};
pub use transfer::{Source, transfer};
