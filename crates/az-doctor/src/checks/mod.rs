//! The checks, each on what a [`crate::visit::Visit`] shows it.

pub(crate) mod archive;
pub(crate) mod cache;
pub(crate) mod clock;
pub(crate) mod engine;
pub(crate) mod folder;
pub(crate) mod hardware;
pub(crate) mod secrets;
pub(crate) mod server;
