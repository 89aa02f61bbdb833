//! The checks. Each examines values of a [`crate::context::Context`].

pub(crate) mod archive;
pub(crate) mod cache;
pub(crate) mod clock;
pub(crate) mod dirs;
pub(crate) mod engine;
pub(crate) mod hardware;
pub(crate) mod publisher;
pub(crate) mod secrets;
pub(crate) mod server;
