//! What the tests of the whole loader share: the binaries, a fixed environment,
//! the vectors, and the rules that every event line keeps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
pub mod events;
pub mod site;
mod vectors;

pub use command::{Finished, bash, binary, filter, path_variable, profile, run, say, write_secret};
pub use vectors::{Random, Vector, hex, vector, vector_file, vectors, whole};

use std::path::Path;

/// The folder of this package.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
