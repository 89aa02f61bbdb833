//! Server configuration.

use crate::{Faults, Tls};
use loader_model::Role;
use loader_server::{Argon2Cost as SealCost, FragmentForm, ServerSettings};
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
    /// Keys with read access to the store. By default those of the seed's `cdn.yaml`, or random.
    pub downloader: Option<KeyPair>,
    /// Keys with read and write access to the store. Same default as `downloader`.
    pub uploader: Option<KeyPair>,
    /// Argon2id cost of stored passwords, and of resources sealed to user and hardware.
    pub seal_cost: SealCost,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fragment_form: FragmentForm::Text,
            fragment_min_role: Value::from(Role::Operator.rank()),
            token_seconds: 3600,
            role_claim: "role".to_owned(),
            downloader: None,
            uploader: None,
            seal_cost: SealCost::default(),
        }
    }
}

impl Settings {
    /// Returns the settings that a server for production has, too.
    pub(crate) fn of_server(&self) -> ServerSettings {
        ServerSettings {
            fragment_form: self.fragment_form,
            fragment_min_role: self.fragment_min_role.clone(),
            token_seconds: self.token_seconds,
            role_claim: self.role_claim.clone(),
            argon2: self.seal_cost,
        }
    }
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
