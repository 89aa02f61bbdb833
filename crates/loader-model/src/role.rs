//! Roles of users and their permissions.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// Role of a user, with the rank that the server assigns to it. An unknown role is kept as
/// text and has no permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rank 0.
    None,
    /// Rank 10.
    Operator,
    /// Rank 20.
    Validator,
    /// Rank 30.
    CompanionPc,
    /// Rank 40.
    Admin,
    /// Rank 50.
    ResourceUploader,
    /// Rank 1000.
    ApiAdmin,
    /// Any other text or number in the token.
    Other(String),
}

const KNOWN: [(Role, &str, u16); 7] = [
    (Role::None, "NONE", 0),
    (Role::Operator, "Operator", 10),
    (Role::Validator, "Validator", 20),
    (Role::CompanionPc, "CompanionPC", 30),
    (Role::Admin, "Admin", 40),
    (Role::ResourceUploader, "ResourceUploader", 50),
    (Role::ApiAdmin, "ApiAdmin", 1000),
];

impl Role {
    /// Returns the name that the server uses.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => KNOWN.iter().find(|row| row.0 == *known).map_or("NONE", |row| row.1),
        }
    }

    /// Returns the rank; 0 for an unknown role.
    pub fn rank(&self) -> u16 {
        KNOWN.iter().find(|row| row.0 == *self).map_or(0, |row| row.2)
    }

    /// Returns true for the two roles with upload permission.
    pub fn may_upload(&self) -> bool {
        matches!(self, Self::ResourceUploader | Self::ApiAdmin)
    }

    /// Parses the role claim of a token: a text, a number, or a list of them, of which the
    /// role with the highest rank is used. A missing or empty claim is [`Role::None`].
    pub fn from_claim(claim: &Value) -> Self {
        match claim {
            Value::String(text) => Self::from_text(text),
            Value::Number(number) => Self::from_text(&number.to_string()),
            Value::Array(list) => {
                let mut roles = list.iter().map(Self::from_claim);
                let first = roles.next().unwrap_or(Self::None);
                roles.fold(first, |best, next| if next.rank() > best.rank() { next } else { best })
            }
            _ => Self::None,
        }
    }

    fn from_text(text: &str) -> Self {
        let text = text.trim();
        KNOWN
            .iter()
            .find(|row| row.1.eq_ignore_ascii_case(text) || text.parse() == Ok(row.2))
            .map_or_else(|| Self::Other(crate::printable(text)), |row| row.0.clone())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|claim| Self::from_claim(&claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_may_be_text_number_or_list() {
        assert_eq!(Role::from_claim(&json!("CompanionPC")), Role::CompanionPc);
        assert_eq!(Role::from_claim(&json!(40)), Role::Admin);
        assert_eq!(Role::from_claim(&json!("50")), Role::ResourceUploader);
        assert_eq!(Role::from_claim(&json!(["Operator", 1000, "Guest"])), Role::ApiAdmin);
        assert_eq!(Role::from_claim(&json!([])), Role::None);
        assert_eq!(Role::from_claim(&json!(null)), Role::None);
    }

    #[test]
    fn an_unknown_role_is_kept_and_has_no_permissions() {
        let role = Role::from_claim(&json!("Archivist"));
        assert_eq!((role.as_str(), role.rank(), role.may_upload()), ("Archivist", 0, false));
        assert!(!Role::Admin.may_upload());
        assert!(Role::ApiAdmin.may_upload());
    }
}
