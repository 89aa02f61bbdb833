//! Tests of the az-push binary against the servers of `loader-testkit`.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod faults;
mod fixture;
mod push;
