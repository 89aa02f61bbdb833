//! Whether the server made a token: its signature and its life, checked with the
//! server's key (RFC 7515, RFC 7519 section 7.2).

mod der;
mod key;
#[cfg(test)]
mod tests;

use crate::Token;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use key::{Key, Refused};
use loader_model::{ErrorCode, User, is_clock_unset, printable};
use serde::Deserialize;
use std::fmt;
use std::time::{Duration, SystemTime};

/// How far the clocks of server and device may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Most keys of a set.
const KEYS_MAX: usize = 64;

/// The keys of a server. Each key verifies the algorithms of its own family
/// alone, whatever a token says: a public key is never an HMAC secret.
pub struct Verifier {
    keys: Vec<Key>,
    by_id: bool,
}

/// Why a key file cannot be used. No variant quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// PEM, but not one public key.
    #[error("not one PEM block PUBLIC KEY")]
    Pem,
    /// A public key of a kind or size that is not verified with.
    #[error("not an RSA key of 2048 to 8192 bits, and none of P-256, P-384 or Ed25519")]
    Kind,
    /// A public key in another form than PEM, which must not become a secret.
    #[error("looks like a key in another form than PEM, and is no HMAC secret")]
    Form,
    /// An HMAC secret with fewer bytes than its digest (RFC 7518 section 3.2).
    #[error("an HMAC secret of {0} bytes; at least 32 are needed")]
    Short(usize),
    /// Not a JSON Web Key Set (RFC 7517 section 5), or one of too many keys.
    #[error("not a JSON Web Key Set of at most 64 keys")]
    NotASet,
    /// A set in which no key verifies signatures.
    #[error("no key in the set can verify a signature")]
    NoneUsable,
}

impl KeyError {
    /// The class of the failure.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Pem | Self::Form | Self::Kind => "openssl pkey -pubin -in KEY prints a public key as PEM",
            Self::NotASet => "a set is {\"keys\":[…]}; a single key goes to --jwt-key-file as PEM",
            Self::Short(_) | Self::NoneUsable => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header is not the JSON object of a signature, or the signature no base64url.
    #[error("not a token: its {0} cannot be read")]
    Malformed(&'static str),
    /// `"alg":"none"`.
    #[error("the token is not signed")]
    Unsigned,
    /// The algorithm is not one of the key's family.
    #[error("the token is signed with {alg}, which is not for {key}")]
    Algorithm {
        /// What the token names.
        alg: String,
        /// What the key is.
        key: &'static str,
    },
    /// The set has no key of this id.
    #[error("the token is signed with the key {0}, which the set does not hold")]
    UnknownKey(String),
    /// The token names no key, and the set has several.
    #[error("the token does not say which key of the set it is signed with")]
    NoKeyId,
    /// The token must not be accepted without an extension (RFC 7515 section 4.1.11).
    #[error("the token demands an extension that is not known here")]
    Extension,
    /// The signature is not the server's.
    #[error("the signature of the token does not match")]
    Signature,
    /// The token lives for ever.
    #[error("the token does not say when it expires")]
    NoEnd,
    /// The token's life is over since this time (RFC 3339).
    #[error("token expired at {0}")]
    Expired(String),
    /// The token's life begins at this time (RFC 3339).
    #[error("token not valid before {0}")]
    NotYet(String),
    /// The clock was not set, so that nothing can be said about the token's life.
    #[error("the clock of this machine says {0}")]
    Clock(String),
}

impl VerifyError {
    /// The class of the failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::Clock(_) | Self::NotYet(_) => ErrorCode::Clock,
            _ => ErrorCode::NotPermitted,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Expired(_) => "log in again; if it is a new one, check the clock of this machine",
            Self::NotYet(_) => "set the clock of this machine: it is behind that of the server",
            Self::Clock(_) => "set the clock first; whether the token has expired cannot be told",
            Self::UnknownKey(_) => "get the server's current key set",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Verifier {
    /// The key in a file: PEM of a public key (`PUBLIC KEY`, RFC 5480: RSA of 2048
    /// to 8192 bits, P-256, P-384, Ed25519); any other content is an HMAC secret
    /// of 32 bytes at least, without the line end after it. What looks like a
    /// public key in another form is refused, since whoever knows that key could
    /// sign with it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_key_file(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { keys: vec![Key::from_file(bytes)?], by_id: false })
    }

    /// The keys of a JSON Web Key Set. A token is verified with those that have
    /// its `kid`; one that names none only where the set is a single key. Keys
    /// that are for other purposes, or of other kinds, are left out.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|_| KeyError::NotASet)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError::NotASet);
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::from_jwk).collect();
        if keys.is_empty() { Err(KeyError::NoneUsable) } else { Ok(Self { keys, by_id: true }) }
    }

    /// True where a key is a secret, with which tokens can be made.
    pub fn holds_secret(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
    }

    /// Whom `token` speaks of, verified: the signature is the server's, and `now`
    /// lies in the token's life, give or take [`LEEWAY`].
    ///
    /// # Errors
    /// See [`VerifyError`]. The signature is looked at before the time, so that
    /// nothing is said about the life of a token that the server did not make.
    pub fn verify(&self, token: &Token, now: SystemTime) -> Result<User, VerifyError> {
        self.check_signature(token.as_str())?;
        check_life(token, now)?;
        Ok(User { verified: true, ..token.user() })
    }

    fn check_signature(&self, token: &str) -> Result<(), VerifyError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed("signature"))?;
        let header = signed.split('.').next().and_then(Header::read).ok_or(VerifyError::Malformed("header"))?;
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
                Err(Refused::Signature) => refusal = VerifyError::Signature,
                Err(Refused::Algorithm(_)) if refusal == VerifyError::Signature => {}
                Err(Refused::Algorithm(key)) => {
                    refusal = VerifyError::Algorithm { alg: printable(&header.alg), key };
                }
            }
        }
        Err(refusal)
    }

    /// The keys that a token which names `id` may be signed with: one at least.
    fn candidates(&self, id: Option<&str>) -> Result<Vec<&Key>, VerifyError> {
        match id.filter(|_| self.by_id) {
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

/// What is read of the header (RFC 7515 section 4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl Header {
    fn read(part: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
    }
}

/// What the clock says, where it was not set since the device booted.
pub(crate) fn unset_clock(now: SystemTime) -> Option<String> {
    is_clock_unset(now).then(|| humantime::format_rfc3339_seconds(now.max(SystemTime::UNIX_EPOCH)).to_string())
}

/// RFC 7519 sections 4.1.4 and 4.1.5, where `exp` is the first second in which
/// the token is no longer accepted.
fn check_life(token: &Token, now: SystemTime) -> Result<(), VerifyError> {
    let text = |time| humantime::format_rfc3339_seconds(time).to_string();
    let end = token.expires().ok_or(VerifyError::NoEnd)?;
    if let Some(says) = unset_clock(now) {
        return Err(VerifyError::Clock(says));
    }
    if end + LEEWAY <= now {
        return Err(VerifyError::Expired(text(end)));
    }
    match token.not_before() {
        Some(start) if start > now + LEEWAY => Err(VerifyError::NotYet(text(start))),
        _ => Ok(()),
    }
}
