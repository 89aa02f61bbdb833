//! Tests of the az-load binary with real and simulated container engines.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod engines;
mod layouts;
mod options;
mod rows;
#[allow(dead_code, reason = "the tests of loader-archive use the rest")]
#[path = "../../../loader-archive/tests/sample/mod.rs"]
mod sample;
mod undo;
mod verdict;
