//! The user that a token identifies.

use crate::Role;
use serde::{Deserialize, Serialize};

/// Claims of a token about its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's UUID as written in the token.
    pub id: String,
    /// The user's email address.
    pub email: String,
    /// The highest of the user's roles.
    pub role: Role,
    /// Expiry of the token, RFC 3339 in UTC; absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// True only if the signature of the token was verified with a key of the server.
    pub verified: bool,
}

impl User {
    /// Returns the 16 bytes of the user's UUID, or `None` if the id is not a UUID.
    pub fn id_bytes(&self) -> Option<[u8; 16]> {
        parse_uuid(&self.id)
    }
}

/// Parses a UUID of 32 hexadecimal digits, with or without the four hyphens (RFC 9562
/// section 4), into its 16 bytes. Returns `None` for any other text.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let has_valid_hyphens = match text.len() {
        32 => !text.contains('-'),
        36 => text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)),
        _ => false,
    };
    if !has_valid_hyphens {
        return None;
    }
    let mut id = [0; 16];
    let mut digits = text.bytes().filter(|b| *b != b'-').map(|b| (b as char).to_digit(16));
    for byte in &mut id {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_parsed_with_and_without_hyphens() {
        let plain = parse_uuid("0123456789abcdef0123456789ABCDEF").unwrap();
        assert_eq!(parse_uuid("01234567-89ab-cdef-0123-456789abcdef").unwrap(), plain);
        assert_eq!(plain[..3], [0x01, 0x23, 0x45]);
        for bad in ["", "42", "0123456789abcdef0123456789abcdeg", "012345678-9ab-cdef-0123-456789abcdef"] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }
}
