//! Tests of several filters together. They share one process: a test must not change its
//! environment, working directory, umask or limits, only those of the commands that it runs.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod canary;
mod clock;
mod device;
mod doctor;
mod examples;
mod fleet;
mod independent;
#[path = "../../crates/loader-archive/tests/odd/mod.rs"]
#[allow(dead_code, reason = "the tests of loader-archive use the rest")]
mod odd;
mod pipe;
mod process;
mod properties;
mod readme;
mod rotation;
#[path = "../../crates/loader-archive/tests/sample/mod.rs"]
#[allow(dead_code, reason = "the tests of loader-archive use the rest")]
mod sample;
mod sealed;
mod secrets;
mod server;
mod settings;
mod signatures;
mod systemd;
mod tink;
mod unlock;
