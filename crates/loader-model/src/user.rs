//! Who a token speaks of.

use crate::Role;
use serde::{Deserialize, Serialize};

/// What a token says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's UUID as the token writes it.
    pub id: String,
    /// The user's email address.
    pub email: String,
    /// The highest of the user's roles.
    pub role: Role,
    /// End of the token's life, RFC 3339 in UTC; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// True only when the token's signature was checked with a key of the server.
    pub verified: bool,
}

impl User {
    /// The 16 bytes of the user's UUID, or `None` where the id is no UUID.
    pub fn id_bytes(&self) -> Option<[u8; 16]> {
        uuid_bytes(&self.id)
    }
}

/// The 16 bytes of a UUID written as 32 hexadecimal digits, with or without the
/// four hyphens (RFC 9562 section 4), or `None`.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let hyphens_fit = match text.len() {
        32 => !text.contains('-'),
        36 => text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)),
        _ => false,
    };
    if !hyphens_fit {
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
    fn uuids_are_read_with_and_without_hyphens() {
        let plain = uuid_bytes("0123456789abcdef0123456789ABCDEF").unwrap();
        assert_eq!(uuid_bytes("01234567-89ab-cdef-0123-456789abcdef").unwrap(), plain);
        assert_eq!(plain[..3], [0x01, 0x23, 0x45]);
        for bad in ["", "42", "0123456789abcdef0123456789abcdeg", "012345678-9ab-cdef-0123-456789abcdef"] {
            assert_eq!(uuid_bytes(bad), None, "{bad}");
        }
    }
}
