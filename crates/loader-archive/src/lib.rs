//! Archives of container images: a reader, a model and a writer.
//!
//! An [`ArchiveReader`] reads any layout that tools write, while the bytes pass. It
//! builds a model in which every digest was checked, and emits the layers. A
//! [`LayerWriter`] and a [`CommitRecord`] write a new archive that contains only the
//! model. An engine therefore never reads a header, a name or a list of the input, and
//! no difference between its parser and this one matters.
//!
//! The crate opens no socket and uses no command line and no standard stream.

mod compression;
mod decompress;
mod docker_layout;
mod error;
mod expect;
mod file_walk;
mod image;
mod image_config;
mod layer;
mod members;
mod model;
mod names;
mod oci_layout;
mod platform;
mod reader;
mod reference;
mod select;
mod skip;
mod strict_json;
mod tar;
mod writer;

pub use compression::Compression;
pub use decompress::DecompressingReader;
pub use error::Error;
pub use expect::{Expected, compare};
pub use file_walk::{FileExtent, FileWalk};
pub use image::{Image, Layer};
pub use members::LayerPlace;
pub use model::{Archive, ImageContent, Root};
pub use platform::Platform;
pub use reader::{ArchiveReader, Event, may_contain_images};
pub use reference::Reference;
pub use select::{PlatformChoice, Selected, select_listed};
pub use skip::SkipLayers;
pub use writer::{CommitRecord, LayerNames, LayerWriter, Layout, fits_one_oci_image};
