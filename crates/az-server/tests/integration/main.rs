//! az-server as a process.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod admin;
mod attacks;
mod fleet;
mod interruption;
mod server;
mod tls;
