//! Tests of the reader and the writer with whole archives.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod archive;
mod memory;
#[path = "../odd/mod.rs"]
mod odd;
mod odd_cases;
#[path = "../rewritten/mod.rs"]
mod rewritten;
#[path = "../sample/mod.rs"]
mod sample;
