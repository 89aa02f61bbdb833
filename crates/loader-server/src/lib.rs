//! The HTTP API for production (crates/loader-api/README.md): logs users in, seals small
//! resources and the server's fragment to a user and a device, and accepts uploads.
//!
//! All state is in one directory of plain files, [`StateDir`]. [`Api`] answers requests
//! from it; [`serve`] accepts connections with bounded time, size and number.

mod api;
mod audit;
mod listener;
mod metrics;
mod password;
mod sealing;
mod settings;
mod state;
mod throttle;
mod tls;
mod token;

pub use api::{Api, ApiConfig};
pub use audit::{AuditLine, AuditLog};
pub use listener::{ClientAddress, Limits, serve};
pub use metrics::{Metrics, metrics_router};
pub use password::random_password;
pub use settings::{Argon2Cost, FragmentForm, ServerSettings};
pub use state::{Finding, NewUser, SigningKeyInfo, StateDir, StateError, StateLock, UserRecord};
pub use tls::{TlsConfig, TlsError, TlsFiles};

/// The OpenAPI 3.1 document of the API, as served at `GET /openapi.json`.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Returns `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the current time in seconds since 1970.
pub fn unix_now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |past| past.as_secs() as i64)
}
