//! Archives of container images, as `docker save` and `podman save` write them:
//! the layout with `manifest.json`, the OCI layout beside it, or the OCI layout
//! alone. A [`Scanner`] is fed with the bytes as they pass. It learns what they
//! hold, checks the SHA-256 of every layer and config, and holds back the
//! members without which an engine names no image. No socket, no command line,
//! no standard stream.

mod content;
mod contents;
mod error;
mod expect;
mod gzip;
mod header;
mod image;
mod index;
mod manifest;
mod name;
mod omit;
mod pax;
mod scan;
mod spelled;

pub use error::Error;
pub use expect::{Expected, compare};
pub use gzip::Unpacked;
pub use image::{Image, Layer};
pub use name::familiar;
pub use omit::Omit;
pub use scan::{Archive, Passed, Scanner, may_hold_images};
