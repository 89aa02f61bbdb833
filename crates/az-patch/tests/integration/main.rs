//! Tests of the az-patch binary.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod faults;
mod patch;
mod workdir;
