//! What the filters that speak to the API share, once: their options, the token
//! they work with, and the user and device that answers are sealed to.
//!
//! It stands between the edge of a process (`loader-stage`, which knows no
//! socket) and the API (`loader-api`, which knows no command line); only `az-*`
//! crates use it.

mod args;
mod binding;
mod connect;
mod verify;

pub use args::{ApiArgs, BindingArgs, CdnArgs, HttpArgs, parse_size};
pub use binding::{Device, device_secret, hardware_failure, is_sealed, kind_of, named_hardware, read_card};
#[cfg(feature = "cdn")]
pub use connect::cdn_failure;
pub use connect::{RetryStep, api_failure, http_failure, open_session, read_token};
pub use verify::{VerifyArgs, user_of};
