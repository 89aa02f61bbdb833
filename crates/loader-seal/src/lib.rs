//! The sealed format: keys and fragments as text, the cut into a small and a
//! big part, the plain layout of old archives. Bytes in, bytes out; no socket,
//! no command line, no standard stream.

mod bech32m;
mod error;
pub mod fragment;
mod gf256;
mod key;

pub use error::Error;
pub use fragment::{Fragment, FragmentError};
pub use key::{Key, KeyId};
