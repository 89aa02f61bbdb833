//! The sealed format (crates/loader-seal/README.md): sealing and opening streams,
//! keys and fragments as text, sealing to a device, the small and the big part of a
//! file, changing the keys of a file, and the plain layout of old archives.
//!
//! The crate reads from [`std::io::Read`] and writes to [`Sink`] or
//! [`std::io::Write`]. It opens no socket and parses no command line.

mod bech32m;
mod cipher;
pub mod device;
mod digest;
mod error;
mod fields;
pub mod fragment;
mod gf256;
mod header;
mod key;
mod layout;
mod open;
mod opened;
pub mod parts;
mod plain_ctr;
pub mod rekey;
mod seal;
mod sealed_writer;
mod slot;
mod verified_reread;

pub use digest::{Digest, copy_digest};
pub use error::Error;
pub use fields::Metadata;
pub use fragment::{Fragment, FragmentError};
pub use header::{Header, Unlocked};
pub use key::{Key, KeyId};
pub use layout::{FIXED_LEN, MAGIC, STREAM_HEADER_LEN, Suite};
pub use loader_pipe::Sink;
pub use opened::{OpenedFile, OpenedStream};
pub use plain_ctr::PlainCtr;
pub use seal::{SealOptions, seal};
pub use sealed_writer::SealedWriter;
pub use slot::{DeviceSlot, KeySlot};
pub use verified_reread::{DigestPass, VerifiedReader};
