//! What a user logs in with.

use serde::{Deserialize, Deserializer};
use std::fmt;
use zeroize::Zeroizing;

/// Email and password, from `{"email":"…","password":"…"}`. The password is
/// wiped on drop and never shown by `Debug`.
#[derive(Clone)]
pub struct Credentials {
    /// The user's email address.
    pub email: String,
    /// The user's password.
    pub password: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Wire {
    email: String,
    #[serde(deserialize_with = "wiped")]
    password: Zeroizing<String>,
}

/// A string of a document, wiped on drop: also where the rest of the document
/// cannot be used.
///
/// # Errors
/// Not a string.
pub fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Credentials {
    /// The credentials in a JSON document, or `None` where it is not an object
    /// with a non-empty `email` and `password`. No part of the document is echoed.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(json).ok()?;
        let credentials = Self { email: wire.email, password: wire.password };
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
    fn debug_shows_no_password() {
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
