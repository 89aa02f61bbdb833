//! What the filters that use the API share: their options, tokens and sessions, and the
//! identity of the user and the device that responses are sealed to.
//!
//! This crate connects `loader-stage`, which does no network I/O, with `loader-api`, which
//! knows no command line. Only the `az-*` crates use it.

mod args;
mod client;
mod identity;
mod verify;

pub use args::{ApiArgs, BindingArgs, CdnArgs, HttpArgs, parse_size};
pub use client::{ReportRetry, open_session, read_token};
pub use identity::{DeviceIdentity, is_sealed, read_device_secret, read_enrolment_card, read_hwid_file, seal_kind};
pub use verify::{VerifyArgs, user_from_token};
