//! Tests of the az-status binary.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod command;
mod events;
mod files;
mod verdicts;
