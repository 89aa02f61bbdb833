//! Settings of a server, from `server.json` in its state directory.

use loader_model::Role;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The document `server.json`. Every field is optional.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Form in which the fragment is delivered.
    pub fragment_form: FragmentForm,
    /// Lowest role that may read the fragment, by name or rank. Other roles get 403.
    pub fragment_min_role: Value,
    /// Lifetime of a token in seconds. With 0 or less, tokens are already expired when issued.
    pub token_seconds: i64,
    /// Name of the claim with the role.
    pub role_claim: String,
    /// Argon2id cost of stored passwords and of resources sealed to user and hardware.
    pub argon2: Argon2Cost,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            fragment_form: FragmentForm::Sealed,
            fragment_min_role: Value::from(Role::Operator.rank()),
            token_seconds: 3600,
            role_claim: "role".to_owned(),
            argon2: Argon2Cost::default(),
        }
    }
}

impl ServerSettings {
    /// Returns the rank of `fragment_min_role`: a number as given, a name by the table
    /// of roles. An unknown name is above every role, so that a typing error opens nothing.
    pub(crate) fn fragment_min_rank(&self) -> u64 {
        let number = self.fragment_min_role.as_u64().or_else(|| self.fragment_min_role.as_str()?.trim().parse().ok());
        number.unwrap_or_else(|| match Role::from_claim(&self.fragment_min_role) {
            Role::Other(_) => u64::MAX,
            role => role.rank().into(),
        })
    }
}

/// Forms of a fragment that a client must recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentForm {
    /// Sealed to the password and the hardware of the user.
    Sealed,
    /// Unchanged file, as `text/plain`.
    Text,
    /// Unchanged file, as `application/octet-stream`.
    Raw,
}

/// Parameters of Argon2id (RFC 9106); the defaults are those of the sealed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u8,
}

impl Argon2Cost {
    /// Minimum cost, for tests that do not test its strength.
    pub const MINIMUM: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };

    /// Returns true if a hash of this cost may be computed: at most 256 MiB and 10 passes,
    /// so that a changed file cannot exhaust the memory.
    pub(crate) fn is_bounded(self) -> bool {
        self.memory_kib <= 256 * 1024 && (1..=10).contains(&self.passes) && (1..=16).contains(&self.lanes)
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 19456, passes: 2, lanes: 1 }
    }
}
