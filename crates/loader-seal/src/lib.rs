//! The sealed format: header, slots and stream, sealing and opening; keys and
//! fragments as text; sealing to a device; the cut into a small and a big part;
//! the plain layout of old archives. Bytes in, bytes out; no socket, no command
//! line, no standard stream.

mod bech32m;
mod cipher;
pub mod device;
mod digest;
mod error;
pub mod fragment;
mod gf256;
mod header;
mod key;
mod layout;
mod metadata;
mod open;
mod ordered;
pub mod parts;
mod plain_ctr;
pub mod rekey;
mod seal;
mod slot;
mod twice;

pub use digest::{Digest, copy_digest};
pub use error::Error;
pub use fragment::{Fragment, FragmentError};
pub use header::{Header, Unlocked};
pub use key::{Key, KeyId};
pub use layout::{FIXED_LEN, MAGIC, STREAM_HEADER_LEN, Suite};
pub use loader_pipe::Sink;
pub use metadata::Metadata;
pub use plain_ctr::PlainCtr;
pub use seal::{SealOptions, seal};
pub use slot::{DeviceSlot, KeySlot};
pub use twice::{FirstReading, SecondReading};
