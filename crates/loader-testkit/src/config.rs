//! What a server is started with.

use crate::{Faults, Tls};
use loader_model::Role;
use serde::Deserialize;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Where a server listens and what it serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder to take users, resources and objects from; `None` serves the
    /// default users and nothing else.
    pub seed: Option<PathBuf>,
    /// A loopback address.
    pub bind: IpAddr,
    /// Port of the API; 0 lets the system choose.
    pub port: u16,
    /// Port of the S3 store; 0 lets the system choose.
    pub s3_port: u16,
    /// The one bucket of the store.
    pub bucket: String,
    /// True to write one JSON line for each answer to standard error.
    pub log: bool,
    /// Settings that stand in for the seed's `devserver.json`.
    pub settings: Option<Settings>,
    /// What a proxy in front of both servers does to requests; no proxy where
    /// absent.
    pub faults: Option<Faults>,
    /// Certificates, where both servers speak https; plain http where absent.
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
    /// The defaults with the seed folder `seed`.
    pub fn seeded(seed: impl Into<PathBuf>) -> Self {
        Self { seed: Some(seed.into()), ..Self::default() }
    }
}

/// The document `devserver.json`: every field may be absent.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How the fragment is handed out.
    pub fragment_form: FragmentForm,
    /// Least role, by name or rank, that may read the fragment; else 403.
    pub fragment_min_role: Value,
    /// Life of a token in seconds; 0 or less makes tokens that are expired at once.
    pub token_seconds: i64,
    /// Name of the claim that holds the role.
    pub role_claim: String,
    /// Secret of the HS256 signature; random where it is absent.
    pub jwt_secret: Option<String>,
    /// Keys that may read the store; else those of the seed's `cdn.yaml`, else random.
    pub downloader: Option<KeyPair>,
    /// Keys that may read and write the store; else as above.
    pub uploader: Option<KeyPair>,
    /// Price of opening what is sealed to user and hardware.
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
    /// The rank behind `fragment_min_role`: any number as it stands, a name by
    /// the table of roles.
    pub(crate) fn fragment_min_rank(&self) -> u64 {
        self.fragment_min_role.as_u64().unwrap_or_else(|| Role::from_claim(&self.fragment_min_role).rank().into())
    }
}

/// The forms of a fragment that a client must recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentForm {
    /// The file as it is, as `text/plain`.
    Text,
    /// The file as it is, as `application/octet-stream`.
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
    /// Its secret.
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

impl Default for SealCost {
    fn default() -> Self {
        Self { memory_kib: 19456, passes: 2, lanes: 1 }
    }
}
