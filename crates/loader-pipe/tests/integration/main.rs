//! Tests with real pipes and processes.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod closed_fds;
mod pipe;
