//! Tests with the files of whole systems.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod boards;
mod system;
