//! Users of the server.

use crate::seed::SeedError;
use loader_model::parse_uuid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// One entry of `users.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// UUID, the claim `nameid`.
    pub id: String,
    /// Email address, the claim `unique_name`; not case-sensitive.
    pub email: String,
    /// Password in plain text: these users are fictitious.
    pub password: String,
    /// The claim `role`: text, a number or a list.
    pub role: Value,
    /// Refuses the login with 409.
    #[serde(default)]
    pub locked: bool,
    /// Hardware id in 64 hexadecimal digits. Requests with another id get 409.
    #[serde(default)]
    pub hardware: Option<String>,
    /// Device secret in 64 hexadecimal digits, additionally used for sealing.
    #[serde(default)]
    pub device_secret: Option<String>,
}

impl UserRecord {
    /// Returns the user `<name>@example.com` with the password `<name>` and the UUID number
    /// `n`.
    pub fn new(n: u8, name: &str, role: &str) -> Self {
        Self {
            id: format!("00000000-0000-4000-8000-0000000000{n:02}"),
            email: format!("{name}@example.com"),
            password: name.to_owned(),
            role: json!(role),
            locked: false,
            hardware: None,
            device_secret: None,
        }
    }
}

/// Returns the users of a server whose seed has no `users.json`: `operator@example.com`
/// (Operator), `uploader@example.com` (ResourceUploader) and `admin@example.com`
/// (ApiAdmin), with the passwords `operator`, `uploader` and `admin`.
pub fn default_users() -> Vec<UserRecord> {
    let users = [("operator", "Operator"), ("uploader", "ResourceUploader"), ("admin", "ApiAdmin")];
    (1..).zip(users).map(|(n, (name, role))| UserRecord::new(n, name, role)).collect()
}

/// A user with decoded id, hardware and device secret.
pub(crate) struct Account {
    pub(crate) record: UserRecord,
    pub(crate) id: [u8; 16],
    pub(crate) hardware: Option<[u8; 32]>,
    pub(crate) secret: Option<[u8; 32]>,
}

impl Account {
    /// Returns true if `password` is correct. Runs in constant time.
    pub(crate) fn has_password(&self, password: &str) -> bool {
        same_text(&self.record.password, password)
    }
}

/// All accounts of a server.
pub(crate) struct Users(Vec<Account>);

impl Users {
    /// Decodes the ids, hardware ids and device secrets of `records`.
    pub(crate) fn new(records: Vec<UserRecord>) -> Result<Self, SeedError> {
        let account = |record: UserRecord| {
            let id = parse_uuid(&record.id).ok_or_else(|| SeedError::User(record.email.clone(), "id is not a UUID"))?;
            let bytes = |text: &Option<String>, what| {
                let bytes = text.as_deref().map(|text| hex_bytes(text).ok_or(what)).transpose();
                bytes.map_err(|what| SeedError::User(record.email.clone(), what))
            };
            let hardware = bytes(&record.hardware, "hardware is not 64 hexadecimal digits")?;
            let secret = bytes(&record.device_secret, "device_secret is not 64 hexadecimal digits")?;
            Ok(Account { record, id, hardware, secret })
        };
        Ok(Self(records.into_iter().map(account).collect::<Result<_, _>>()?))
    }

    /// Returns the user with this email address.
    pub(crate) fn by_email(&self, email: &str) -> Option<&Account> {
        self.0.iter().find(|account| account.record.email.eq_ignore_ascii_case(email))
    }

    /// Returns the user with this email and password. An unknown email takes the same time.
    pub(crate) fn check(&self, email: &str, password: &str) -> Option<&Account> {
        let account = self.by_email(email);
        let right = same_text(account.map_or("", |account| &account.record.password), password);
        account.filter(|_| right)
    }

    /// Returns the user with this UUID.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Account> {
        let id = parse_uuid(id)?;
        self.0.iter().find(|account| account.id == id)
    }
}

fn same_text(a: &str, b: &str) -> bool {
    Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice()).into()
}

/// Decodes 64 hexadecimal digits.
pub(crate) fn hex_bytes(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16);
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_must_match_completely() {
        let users = Users::new(default_users()).unwrap();
        assert!(users.check("Operator@example.com", "operator").is_some());
        for (email, password) in [("operator@example.com", "operato"), ("operator@example.com", ""), ("x@y", "")] {
            assert!(users.check(email, password).is_none(), "{email}");
        }
    }

    #[test]
    fn hardware_is_64_digits() {
        assert_eq!(hex_bytes(&"0aF1".repeat(16)).unwrap()[..2], [0x0a, 0xf1]);
        assert_eq!(hex_bytes(&"0".repeat(63)), None);
        assert_eq!(hex_bytes(&"0g".repeat(32)), None);
    }
}
