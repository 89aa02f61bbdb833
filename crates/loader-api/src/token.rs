//! Tokens of the API: compact JWTs, parsed but not verified. [`crate::jwt`] verifies them.

use crate::Error;
use crate::claims::Claims;
use crate::jwt::{LEEWAY, unset_clock};
use loader_model::{Coded, ErrorCode, Role, User};
use serde_json::{Map, Value};
use std::fmt;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// A bearer token and its claims. The text is wiped on drop and never shown by `Debug`.
#[derive(Clone)]
pub struct Token {
    text: Zeroizing<String>,
    claims: Claims,
}

/// Reason why a text is not a token. No variant quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`Token::MAX_BYTES`].
    #[error("token is longer than 16 KiB")]
    TooLong,
    /// Not three parts of base64url (RFC 7515 section 7.1).
    #[error("not a token: it does not consist of three base64url parts")]
    Shape,
    /// The middle part is not a JSON object.
    #[error("not a token: its claims are not a JSON object")]
    NotJson,
    /// A claim cannot be used.
    #[error("token: claim {0} is out of range")]
    Claim(&'static str),
}

impl Coded for TokenError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Malformed
    }

    fn hint(&self) -> Option<String> {
        Some("use the unchanged output of az-login".to_owned())
    }
}

impl Token {
    /// Maximum length of a token in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Parses a compact JWT (RFC 7519), ignoring white space around it. Does not verify
    /// the signature: the server does that, and the claims are only displayed or used
    /// to report an error early.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > Self::MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        if text.split('.').count() != 3 || !text.split('.').all(is_base64url) {
            return Err(TokenError::Shape);
        }
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(text).map_err(|_| TokenError::NotJson)?;
        let claims = Claims::from_map(&claims).map_err(TokenError::Claim)?;
        Ok(Self { text: Zeroizing::new(text.to_owned()), claims })
    }

    /// Returns the text, for the `Authorization` header or the next stage.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the user of the token, not verified.
    pub fn user(&self) -> User {
        User {
            id: self.claims.id.clone(),
            email: self.claims.email.clone(),
            role: self.claims.role.clone(),
            expires: self.expires().map(|time| humantime::format_rfc3339_seconds(time).to_string()),
            verified: false,
        }
    }

    /// Returns the highest role in the token.
    pub fn role(&self) -> &Role {
        &self.claims.role
    }

    /// Returns the expiry time (`exp`), if the token has one.
    pub fn expires(&self) -> Option<SystemTime> {
        self.claims.expires.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Returns the start of validity (`nbf`), if the token has one.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.claims.not_before.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Returns true if the token has expired at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires().is_some_and(|end| end <= now)
    }

    /// Returns the most likely reason why a server refused the token at `now`: it has
    /// expired, it is not valid yet, the clock was not set, or another reason.
    pub(crate) fn unauthorized_error(&self, now: SystemTime) -> Error {
        let text = humantime::format_rfc3339_seconds;
        match (self.expires(), self.not_before(), unset_clock(now)) {
            (Some(end), _, _) if end <= now => Error::Unauthorized(format!("token expired at {}", text(end))),
            (.., Some(says)) => {
                let why = "whether the token has expired is unknown";
                Error::Clock(format!("the clock of this machine says {says}, and {why}"))
            }
            (_, Some(start), _) if start > now + LEEWAY => {
                Error::Clock(format!("token not valid before {}, by the clock of this machine", text(start)))
            }
            _ => Error::Unauthorized("the server does not accept this token".to_owned()),
        }
    }
}

fn is_base64url(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("claims", &self.claims).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // {"alg":"HS256","typ":"JWT"}
    const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

    fn token(claims: &str) -> Result<Token, TokenError> {
        Token::parse(&format!("{HEADER}.{}.c2ln\n", base64url(claims.as_bytes())))
    }

    fn base64url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                out.push(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char);
            }
        }
        out
    }

    #[test]
    fn short_claims_are_read() {
        let token = token(
            r#"{"nameid":"01234567-89ab-cdef-0123-456789abcdef","unique_name":"a@b","role":"Operator","exp":1700000000,"nbf":0}"#,
        )
        .unwrap();
        let user = token.user();
        assert_eq!((user.email.as_str(), &user.role, user.verified), ("a@b", &Role::Operator, false));
        assert_eq!(user.expires.as_deref(), Some("2023-11-14T22:13:20Z"));
        assert!(user.id_bytes().is_some());
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert!(token.is_expired(end) && !token.is_expired(end - Duration::from_secs(1)));
        assert_eq!(
            token.unauthorized_error(end),
            Error::Unauthorized("token expired at 2023-11-14T22:13:20Z".to_owned())
        );
        assert!(!format!("{token:?}").contains(HEADER));
    }

    #[test]
    fn an_unset_clock_is_the_reason_of_a_refusal() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        // 2027-01-15, for 1000 seconds
        let token = token(r#"{"nbf":1800000000,"exp":1800001000}"#).unwrap();
        let why = |now| match token.unauthorized_error(at(now)) {
            Error::Unauthorized(why) => (ErrorCode::NotPermitted, why),
            error => (error.code(), error.to_string()),
        };
        let (code, text) = why(5);
        assert_eq!(code, ErrorCode::Clock);
        assert!(text.starts_with("HTTP 401, the clock of this machine says 1970-01-01T00:00:05Z, and"), "{text}");
        let (code, text) = why(1_799_999_939);
        assert_eq!((code, text.contains("token not valid before 2027-01-15T08:00:00Z")), (ErrorCode::Clock, true));
        assert_eq!(why(1_799_999_940).0, ErrorCode::NotPermitted);
        assert_eq!(why(1_800_001_000), (ErrorCode::NotPermitted, "token expired at 2027-01-15T08:16:40Z".to_owned()));
    }

    #[test]
    fn long_claims_are_read_and_the_highest_role_counts() {
        let user = token(
            r#"{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier":"7","http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name":"a@b",
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/role":[10,"ApiAdmin"],"role":"Guest"}"#,
        )
        .unwrap()
        .user();
        assert_eq!(
            (user.id.as_str(), user.email.as_str(), user.role, user.expires),
            ("7", "a@b", Role::ApiAdmin, None)
        );
    }

    #[test]
    fn an_invalid_token_is_refused_and_not_quoted() {
        for (text, error) in [
            ("", TokenError::Shape),
            ("a.b", TokenError::Shape),
            ("a.b.c.d", TokenError::Shape),
            ("a.b.", TokenError::Shape),
            ("a.b c.d", TokenError::Shape),
            ("a.bm90.c", TokenError::NotJson),
            (&"a".repeat(Token::MAX_BYTES + 1), TokenError::TooLong),
        ] {
            assert_eq!(Token::parse(text).unwrap_err(), error);
        }
        for exp in ["-1", "1e99", "\"soon\"", "253402300800"] {
            assert_eq!(token(&format!("{{\"exp\":{exp}}}")).unwrap_err(), TokenError::Claim("exp"));
        }
    }
}
