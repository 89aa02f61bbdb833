//! The container engine behind `az-load`: Docker or podman over its unix socket.
//!
//! A load is one request whose body stays open until [`Upload::commit`]; dropped
//! before that, the engine tags nothing.
//! Status codes decide nothing by themselves, so the answer is read line by line
//! and [`Engine::check`] asks for every image afterwards.

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
