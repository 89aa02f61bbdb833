//! The servers of the loader on loopback, in one process: the HTTP API with
//! signed tokens and the CDN as an S3 store that verifies SigV4. The binary
//! `az-devserver` and the tests start the same [`DevServer`].
//!
//! # The seed
//!
//! | path | what it is |
//! | --- | --- |
//! | `users.json` | a list of [`UserRecord`]; without it [`default_users`] |
//! | `resources/<folder>/<name>` | files that the API hands out, sealed |
//! | `cdn/<folder>/<name>.big` | objects of the bucket, under the same key |
//! | `key-fragment` | the fragment of the server: a text line or raw bytes |
//! | `devserver.json` | [`Settings`] |
//!
//! Files and folders whose names begin with a dot are passed over. Everything is
//! copied to a temporary folder that goes with the server; the seed is only read.
//! Without `resources/cdn.yaml` the server makes one that names its own S3 store.

mod access_log;
mod api;
pub mod archive;
mod config;
mod faults;
pub mod folder;
mod s3;
mod sealing;
mod seed;
mod server;
mod throttle;
mod tls;
mod token;
mod users;

pub use access_log::RequestLine;
pub use config::{Config, FragmentForm, KeyPair, SealCost, Settings};
pub use faults::{FaultLog, Faults, FaultsError, Side};
pub use seed::SeedError;
pub use server::{DevServer, StartError, Urls};
pub use tls::{Certified, TestCa, Tls, TlsError};
pub use users::{UserRecord, default_users};

/// The OpenAPI 3.1 document of the API, as `GET /openapi.json` answers it.
pub const OPENAPI: &str = include_str!("../openapi.json");
