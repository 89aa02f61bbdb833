//! The loader's servers on loopback in one process: the HTTP API with signed tokens,
//! and an S3 store that verifies SigV4 as the CDN. The binary `az-devserver` and the
//! tests use the same [`DevServer`]. Tests start it with [`Site`], which also holds the files
//! of a device.
//!
//! # Seed directory
//!
//! | path | content |
//! | --- | --- |
//! | `users.json` | a list of [`UserRecord`]; [`default_users`] if it does not exist |
//! | `resources/<folder>/<name>` | files that the API seals and delivers |
//! | `cdn/<folder>/<name>.big` | objects of the bucket, with the same key |
//! | `key-fragment` | the server's key fragment: a text line or raw bytes |
//! | `devserver.json` | [`Settings`] |
//!
//! Files and directories whose names begin with a dot are skipped. The server copies
//! everything to a temporary directory, which it removes when it stops, and never
//! changes the seed. If `resources/cdn.yaml` does not exist, the server creates one with
//! the URL of its own S3 store.

mod access_log;
pub mod archive;
mod config;
mod faults;
mod files;
mod process;
mod random;
mod request;
mod s3;
mod seed;
mod server;
mod site;
pub mod test_dir;
mod tls;
mod users;
mod wait;

pub use access_log::RequestLine;
pub use config::{Config, KeyPair, Settings};
pub use faults::{FaultLog, Faults, FaultsError, Side};
pub use files::{file_names, make_fifo, open_fifo, set_mode, write_below, write_program, write_secret};
pub use loader_server::{Argon2Cost as SealCost, FragmentForm, OPENAPI};
pub use process::{Finished, run, run_concurrently};
pub use random::{Random, unique_name};
pub use request::{read_head, read_request};
pub use seed::{SeedError, hex, sha256};
pub use server::{DevServer, StartError, Urls};
pub use site::{Site, SiteConfig, credentials};
pub use tls::{CertifiedKey, TestCa, Tls, TlsError};
pub use users::{UserRecord, default_users};
pub use wait::wait_until;
