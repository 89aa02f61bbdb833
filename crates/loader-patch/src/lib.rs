//! Patches (crates/loader-patch/README.md): how the content of a release is made from that of
//! another one.
//!
//! [`Patch`] reads a patch and returns the new content as a reader; [`diff`] writes a patch. Both
//! read the old content through [`OldContent`]. The crate opens no file and no socket, and does
//! not know how contents and patches are sealed. Nothing that a patch declares is trusted: its
//! memory is bounded, and the caller compares the new content with the statement.

mod chunks;
mod codec;
mod diff;
mod error;
mod extents;
mod format;
mod matches;
mod old_content;
mod patch;
mod planner;
mod varint;
mod writer;

pub use diff::{DiffOptions, DiffSummary, diff};
pub use error::Error;
pub use old_content::OldContent;
pub use patch::{NewContent, Patch, PatchCounts};
pub use writer::PatchWriter;

/// Name of the encoding in the header of a sealed file that contains a patch.
pub const ENCODING: &str = "patch";

/// Media type of a patch in the header of a sealed file.
pub const CONTENT_TYPE: &str = "application/x-az-patch";
