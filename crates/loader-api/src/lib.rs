//! The HTTP API that issues tokens and hands out resources sealed to a user and
//! a device: log in, read and verify what a token says, get a resource, the server's
//! fragment, a list.

mod claims;
mod client;
mod error;
mod form;
pub mod jwt;
mod seen;
mod session;
mod token;

pub use client::{ApiConfig, ApiPaths, Client, Listed, RESOURCE_MAX};
pub use error::Error;
pub use session::Session;
pub use token::{Token, TokenError};
