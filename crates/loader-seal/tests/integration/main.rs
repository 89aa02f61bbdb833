//! Tests of the format with files of this and of other implementations.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod case;
mod corruption;
mod damage;
mod keys;
mod kit;
mod readme;
mod shamir_oracle;
mod stream;
mod vectors;
