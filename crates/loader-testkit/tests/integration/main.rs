//! Tests of the servers over real sockets.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod api;
mod faults;
mod process;
mod s3;
mod wire;
