//! The container engine behind `az-load`: Docker or podman over its unix socket.
//!
//! A load is one request whose body stays open until [`Upload::commit`]; dropped
//! before that, the engine tags nothing (spec/docker.md has the experiments).
//! Status codes decide nothing by themselves, so the answer is read line by line
//! and [`Engine::check`] asks for every image afterwards.

mod answer;
mod body;
mod engine;
mod error;
mod host;
mod http;
mod list;
mod presence;
mod program;
mod target;
mod upload;

pub use engine::{Engine, Room, Store};
pub use error::Error;
pub use host::Host;
pub use list::Listing;
pub use presence::{Absence, Found};
pub use program::Program;
pub use target::Target;
pub use upload::{Said, Upload};
