//! Users of the server.

use loader_server::NewUser;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

impl From<UserRecord> for NewUser {
    fn from(record: UserRecord) -> Self {
        Self {
            id: Some(record.id),
            email: record.email,
            password: record.password.into(),
            role: record.role,
            locked: record.locked,
            hardware: record.hardware,
            device_secret: record.device_secret.map(Into::into),
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
