//! Tests of the az-fetch binary against the servers of `loader-testkit`.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod batch;
mod disk;
mod faults;
mod fixture;
mod interrupted_push;
mod proxy;
mod resume;
mod tls;
