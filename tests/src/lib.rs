//! Shared code of the integration tests: binaries, a fixed environment, test vectors and
//! the rules for event lines.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

mod command;
pub mod events;
pub mod site;
mod vectors;

pub use command::{
    Finished, bash, binary, file_names, filter, path_variable, profile, run, say, set_mode, write_secret,
};
pub use vectors::{Random, Vector, hex, vector, vector_file, vectors, whole};

use std::path::Path;

/// Returns the directory of this package.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
