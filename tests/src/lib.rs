//! Shared code of the integration tests: binaries, a fixed environment, test vectors and
//! the rules for event lines.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod command;
pub mod events;
pub mod site;
mod vectors;

pub use command::{bash, binary, filter, path_variable, profile, say};
pub use events::EventLines;
pub use loader_testkit::{Finished, Random, file_names, hex, run, set_mode, write_program, write_secret};
pub use vectors::{Vector, vector, vector_file, vectors, whole};

use std::path::Path;

/// Returns the directory of this package.
pub fn package_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
