//! Tests of the store and of the cache.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod cache;
mod store;
