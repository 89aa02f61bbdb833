//! Email and password of a user.

use serde::{Deserialize, Deserializer};
use std::fmt;
use zeroize::Zeroizing;

/// Email and password, from `{"email":"…","password":"…"}`. The password is
/// zeroized on drop and never shown by `Debug`.
#[derive(Clone)]
pub struct Credentials {
    /// The user's email address.
    pub email: String,
    /// The user's password.
    pub password: Zeroizing<String>,
}

#[derive(Deserialize)]
struct CredentialsJson {
    email: String,
    #[serde(deserialize_with = "deserialize_zeroizing")]
    password: Zeroizing<String>,
}

/// Deserializes a string that is zeroized on drop, even if the rest of the document is
/// rejected.
///
/// # Errors
/// The error of the deserializer if the value is not a string.
pub fn deserialize_zeroizing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Credentials {
    /// Parses a JSON object with a non-empty `email` and `password`. Returns `None` for any
    /// other document, so that no error text can quote it.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let CredentialsJson { email, password } = serde_json::from_slice(json).ok()?;
        let credentials = Self { email, password };
        (!credentials.email.is_empty() && !credentials.password.is_empty()).then_some(credentials)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("email", &self.email).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_password() {
        let credentials = Credentials::from_json(br#"{"email":"a@b","password":"hunter2"}"#).unwrap();
        assert_eq!(credentials.password.as_str(), "hunter2");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn incomplete_documents_are_refused() {
        for bad in ["", "[]", "{}", r#"{"email":"a@b"}"#, r#"{"email":"","password":"x"}"#] {
            assert!(Credentials::from_json(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
