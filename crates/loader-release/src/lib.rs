//! Releases: sealed files whose content may be packed, with the statement of a publisher.
//!
//! [`ReleaseFile`] opens such a file in the same way for every filter. [`Policy`] determines
//! which content is accepted: signed by which publishers, and not older than which release.
//! [`ReleaseRecords`] keeps the newest release that a device has unlocked. The crate opens no
//! socket.

mod keys;
mod pem;
mod policy;
mod records;
mod release_file;

pub use keys::KeyListArgs;
pub use pem::{public_keys, signing_key};
pub use policy::{Accepted, Policy, PolicyArgs, Refusal};
pub use records::ReleaseRecords;
pub use release_file::{OpenError, ReleaseFile, after_byte};
