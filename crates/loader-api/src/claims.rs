//! Claims of a token, by their short names and the long names of ASP.NET.

use loader_model::{Role, printable};
use serde_json::{Map, Value};

const ID: [&str; 3] = ["nameid", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub"];
const EMAIL: [&str; 4] = [
    "unique_name",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
    "email",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
];
const ROLE: [&str; 3] = ["role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "roles"];

/// Last second that RFC 3339 can express (end of the year 9999), in seconds since 1970.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Claims of a token that are used in this workspace.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) role: Role,
    /// Seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Seconds since 1970.
    pub(crate) not_before: Option<u64>,
}

impl Claims {
    /// Reads the claims from a token's payload.
    ///
    /// # Errors
    /// The name of an unusable claim.
    pub(crate) fn from_map(map: &Map<String, Value>) -> Result<Self, &'static str> {
        Ok(Self {
            id: text(map, &ID),
            email: text(map, &EMAIL),
            role: role(map),
            expires: seconds(map, "exp")?,
            not_before: seconds(map, "nbf")?,
        })
    }
}

fn text(map: &Map<String, Value>, names: &[&str]) -> String {
    names
        .iter()
        .find_map(|name| match map.get(*name)? {
            Value::String(text) => Some(printable(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Returns the highest of all roles under any of the names.
fn role(map: &Map<String, Value>) -> Role {
    let all = ROLE.iter().filter_map(|name| map.get(*name)).flat_map(|claim| match claim {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    });
    Role::from_claim(&Value::Array(all.collect()))
}

/// Reads a NumericDate (RFC 7519 section 2): seconds since 1970, possibly with a fraction.
fn seconds(map: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, &'static str> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(name),
        },
    }
}
