//! Client for the container engine, Docker or podman, over its unix socket.
//!
//! A load is one request whose body stays open until [`Upload::commit`]. If the upload is
//! dropped before, the engine tags nothing. HTTP status codes do not report every failure,
//! so the response is read line by line, [`Engine::check`] checks every image
//! afterwards, and [`Engine::restore`] restores the tags after a failure.

mod body;
mod engine;
mod error;
mod host;
mod http;
mod list;
mod present;
mod program;
mod progress;
mod target;
mod undo;
mod upload;

pub use engine::{Engine, Room, Store};
pub use error::Error;
pub use host::Host;
pub use list::Listing;
pub use present::{Absence, Found};
pub use program::Program;
pub use target::Target;
pub use undo::KeptImages;
pub use upload::{Progress, Upload};
