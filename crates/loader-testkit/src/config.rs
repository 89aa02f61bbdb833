//! Server configuration.

use crate::{Faults, Tls};
use loader_model::Role;
use serde::Deserialize;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Addresses and content of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed directory with users, resources and objects. `None` serves only the
    /// default users.
    pub seed: Option<PathBuf>,
    /// Loopback address to listen on.
    pub bind: IpAddr,
    /// Port of the API; 0 for any free port.
    pub port: u16,
    /// Port of the S3 store; 0 for any free port.
    pub s3_port: u16,
    /// Name of the only bucket of the store.
    pub bucket: String,
    /// Writes one JSON line for each response to standard error.
    pub log: bool,
    /// Settings used instead of the seed's `devserver.json`.
    pub settings: Option<Settings>,
    /// Faults that a proxy before both servers injects. `None` starts no proxy.
    pub faults: Option<Faults>,
    /// Certificates for https on both servers. `None` uses plain http.
    pub tls: Option<Tls>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: None,
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            s3_port: 0,
            bucket: "azaion".to_owned(),
            log: false,
            settings: None,
            faults: None,
            tls: None,
        }
    }
}

impl Config {
    /// Returns the defaults with the seed directory `seed`.
    pub fn seeded(seed: impl Into<PathBuf>) -> Self {
        Self { seed: Some(seed.into()), ..Self::default() }
    }
}

/// The document `devserver.json`. Every field is optional.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Form in which the fragment is delivered.
    pub fragment_form: FragmentForm,
    /// Lowest role that may read the fragment, by name or rank. Other roles get 403.
    pub fragment_min_role: Value,
    /// Lifetime of a token in seconds. With 0 or less, tokens are already expired when issued.
    pub token_seconds: i64,
    /// Name of the claim with the role.
    pub role_claim: String,
    /// Secret of the HS256 signature; random by default.
    pub jwt_secret: Option<String>,
    /// Keys with read access to the store. By default those of the seed's `cdn.yaml`, or random.
    pub downloader: Option<KeyPair>,
    /// Keys with read and write access to the store. Same default as `downloader`.
    pub uploader: Option<KeyPair>,
    /// Argon2id cost of resources sealed to user and hardware.
    pub seal_cost: SealCost,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fragment_form: FragmentForm::Text,
            fragment_min_role: Value::from(Role::Operator.rank()),
            token_seconds: 3600,
            role_claim: "role".to_owned(),
            jwt_secret: None,
            downloader: None,
            uploader: None,
            seal_cost: SealCost::default(),
        }
    }
}

impl Settings {
    /// Returns the rank of `fragment_min_role`: a number as given, a name by the table
    /// of roles.
    pub(crate) fn fragment_min_rank(&self) -> u64 {
        self.fragment_min_role.as_u64().unwrap_or_else(|| Role::from_claim(&self.fragment_min_role).rank().into())
    }
}

/// Forms of a fragment that a client must recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentForm {
    /// Unchanged file, as `text/plain`.
    Text,
    /// Unchanged file, as `application/octet-stream`.
    Raw,
    /// Sealed to the password and the hardware of the user in `users.json`.
    Sealed,
}

/// An access key of the store.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub access_secret: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Parameters of Argon2id (RFC 9106); the defaults are those of the format.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SealCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u8,
}

impl SealCost {
    /// Minimum cost, for tests that do not test its strength.
    pub const MINIMUM: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };
}

impl Default for SealCost {
    fn default() -> Self {
        Self { memory_kib: 19456, passes: 2, lanes: 1 }
    }
}
