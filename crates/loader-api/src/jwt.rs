//! Verification of tokens with the server's keys: signature and validity period
//! (RFC 7515, RFC 7519 section 7.2).

mod der;
mod key;
#[cfg(test)]
mod tests;

use crate::Token;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use key::{SignatureError, VerifyingKey};
use loader_model::{Coded, ErrorCode, User, is_clock_unset, printable};
use serde::Deserialize;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Tolerated difference between the clocks of server and device.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Maximum number of keys in a set.
const KEYS_MAX: usize = 64;

/// Keys of a server. Each key is used only with the algorithms of its own family,
/// whatever algorithm a token names: a public key is never used as an HMAC secret.
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    select_by_id: bool,
}

/// Reason why a key file is unusable. No variant quotes the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A PEM file that does not contain exactly one public key.
    #[error("not exactly one PEM block PUBLIC KEY")]
    Pem,
    /// A public key of an unsupported type or size.
    #[error("unsupported key; supported are RSA with 2048 to 8192 bits, P-256, P-384 and Ed25519")]
    Kind,
    /// A public key that is not PEM, which must not be used as an HMAC secret.
    #[error("looks like a public key that is not PEM, so it cannot be an HMAC secret")]
    Form,
    /// An HMAC secret shorter than its digest (RFC 7518 section 3.2).
    #[error("the HMAC secret has {0} bytes; at least 32 are required")]
    Short(usize),
    /// Not a JSON Web Key Set (RFC 7517 section 5), or a set with too many keys.
    #[error("not a JSON Web Key Set of at most 64 keys")]
    NotAKeySet,
    /// A set without a key that can verify signatures.
    #[error("no key in the set can verify a signature")]
    NoneUsable,
}

impl Coded for KeyError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Pem | Self::Form | Self::Kind => "openssl pkey -pubin -in KEY prints a public key as PEM",
            Self::NotAKeySet => "a set has the form {\"keys\":[…]}; use --jwt-key-file for a single PEM key",
            Self::Short(_) | Self::NoneUsable => return None,
        };
        Some(hint.to_owned())
    }
}

/// Reason why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header is not a valid JSON object, or the signature is not base64url.
    #[error("not a token: its {0} cannot be read")]
    Malformed(&'static str),
    /// `"alg":"none"`.
    #[error("the token is not signed")]
    Unsigned,
    /// The algorithm does not belong to the family of the key.
    #[error("the token is signed with {alg}, which cannot be verified with {key}")]
    Algorithm {
        /// Algorithm in the token.
        alg: String,
        /// Type of the key, with an article.
        key: &'static str,
    },
    /// The set has no key with this id.
    #[error("the token is signed with the key {0}, which is not in the set")]
    UnknownKey(String),
    /// The token names no key, and the set has several.
    #[error("the token does not name the key that it is signed with")]
    NoKeyId,
    /// The token requires an extension (`crit`, RFC 7515 section 4.1.11).
    #[error("the token requires an unsupported extension")]
    Extension,
    /// The signature was not made with the server's key.
    #[error("the signature of the token does not match")]
    Signature,
    /// The token has no expiry time.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// The token expired at this time (RFC 3339).
    #[error("token expired at {0}")]
    Expired(String),
    /// The token becomes valid at this time (RFC 3339).
    #[error("token not valid before {0}")]
    NotYetValid(String),
    /// The clock was not set, so that the validity period cannot be checked.
    #[error("the clock of this machine says {0}")]
    Clock(String),
}

impl Coded for VerifyError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::Clock(_) | Self::NotYetValid(_) => ErrorCode::Clock,
            _ => ErrorCode::NotPermitted,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Expired(_) => "log in again; if the token is new, check the clock of this machine",
            Self::NotYetValid(_) => "set the clock of this machine: it is behind the server's clock",
            Self::Clock(_) => "set the clock first: the expiry of the token cannot be checked without it",
            Self::UnknownKey(_) => "get the server's current key set",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Verifier {
    /// Reads the key in a file: a PEM public key (`PUBLIC KEY`, RFC 5480: RSA with 2048
    /// to 8192 bits, P-256, P-384 or Ed25519), or an HMAC secret of at least 32 bytes,
    /// without its line end. A public key in another format is refused: if it were used
    /// as an HMAC secret, everybody who knows the public key could sign tokens.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_key_file(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { keys: vec![VerifyingKey::from_file(bytes)?], select_by_id: false })
    }

    /// Reads a JSON Web Key Set. A token is verified with the keys that have its `kid`.
    /// A token without `kid` is accepted only if the set has a single key. Keys for other
    /// purposes or of unsupported types are skipped.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|_| KeyError::NotAKeySet)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError::NotAKeySet);
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(VerifyingKey::from_jwk).collect();
        if keys.is_empty() { Err(KeyError::NoneUsable) } else { Ok(Self { keys, select_by_id: true }) }
    }

    /// Returns true if a key is an HMAC secret, which can also sign tokens.
    pub fn holds_secret(&self) -> bool {
        self.keys.iter().any(VerifyingKey::is_secret)
    }

    /// Verifies `token` and returns its user: the signature must be the server's, and
    /// `now` within the validity period, with a tolerance of [`LEEWAY`].
    ///
    /// # Errors
    /// See [`VerifyError`]. The signature is checked before the validity period.
    pub fn verify(&self, token: &Token, now: SystemTime) -> Result<User, VerifyError> {
        self.check_signature(token.as_str())?;
        check_validity_period(token, now)?;
        Ok(User { verified: true, ..token.user() })
    }

    fn check_signature(&self, token: &str) -> Result<(), VerifyError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed("signature"))?;
        let header = signed.split('.').next().and_then(JoseHeader::parse).ok_or(VerifyError::Malformed("header"))?;
        let signature = BASE64URL.decode(signature).map_err(|_| VerifyError::Malformed("signature"))?;
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(VerifyError::Unsigned);
        }
        if header.crit.is_some() {
            return Err(VerifyError::Extension);
        }
        let mut refusal = VerifyError::NoKeyId;
        for key in self.candidates(header.kid.as_deref())? {
            match key.verify(&header.alg, signed.as_bytes(), &signature) {
                Ok(()) => return Ok(()),
                Err(SignatureError::Mismatch) => refusal = VerifyError::Signature,
                Err(SignatureError::Algorithm(_)) if refusal == VerifyError::Signature => {}
                Err(SignatureError::Algorithm(key)) => {
                    refusal = VerifyError::Algorithm { alg: printable(&header.alg), key };
                }
            }
        }
        Err(refusal)
    }

    /// Returns the keys that may have signed a token with the key id `id`: at least one.
    fn candidates(&self, id: Option<&str>) -> Result<Vec<&VerifyingKey>, VerifyError> {
        match id.filter(|_| self.select_by_id) {
            Some(id) => {
                let keys: Vec<_> = self.keys.iter().filter(|key| key.has_id(id)).collect();
                if keys.is_empty() { Err(VerifyError::UnknownKey(printable(id))) } else { Ok(keys) }
            }
            None if self.keys.len() == 1 => Ok(self.keys.iter().collect()),
            None => Err(VerifyError::NoKeyId),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// JoseHeader parameters that are used (RFC 7515 section 4.1).
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl JoseHeader {
    fn parse(part: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
    }
}

/// Returns the time of the clock if it was not set since boot.
pub(crate) fn unset_clock(now: SystemTime) -> Option<String> {
    is_clock_unset(now).then(|| humantime::format_rfc3339_seconds(now.max(SystemTime::UNIX_EPOCH)).to_string())
}

/// Checks `exp` and `nbf` (RFC 7519 sections 4.1.4 and 4.1.5). At `exp` the token has
/// already expired.
fn check_validity_period(token: &Token, now: SystemTime) -> Result<(), VerifyError> {
    let text = |time| humantime::format_rfc3339_seconds(time).to_string();
    let end = token.expires().ok_or(VerifyError::NoExpiry)?;
    if let Some(time) = unset_clock(now) {
        return Err(VerifyError::Clock(time));
    }
    if end + LEEWAY <= now {
        return Err(VerifyError::Expired(text(end)));
    }
    match token.not_before() {
        Some(start) if start > now + LEEWAY => Err(VerifyError::NotYetValid(text(start))),
        _ => Ok(()),
    }
}
