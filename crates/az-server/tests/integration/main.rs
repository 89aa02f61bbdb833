//! az-server as a process.

mod admin;
mod attacks;
mod fleet;
mod interruption;
mod server;
mod tls;
