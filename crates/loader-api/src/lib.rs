//! Client of the HTTP API, which issues tokens and delivers resources sealed to a user
//! and a device: log in, read and verify tokens, get, put and list resources, get the
//! server's key fragment.

mod claims;
mod client;
mod describe_response;
mod error;
mod form;
pub mod jwt;
mod session;
mod token;

pub use client::{ApiConfig, ApiPaths, Client, RESOURCE_MAX, ResourceEntry};
pub use error::Error;
pub use session::Session;
pub use token::{Token, TokenError};
