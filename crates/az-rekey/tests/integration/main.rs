//! Tests of the az-rekey binary.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod power_loss;
mod rekey;
mod workdir;
