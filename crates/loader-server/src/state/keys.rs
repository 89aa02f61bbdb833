//! Keys that sign tokens: Ed25519 (RFC 8032), one file for each, named by the key id.

use super::{StateDir, StateError, files};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use zeroize::{Zeroize, Zeroizing};

/// Length of a key id: a SHA-256 thumbprint (RFC 7638) in base64url.
const ID_LEN: usize = 43;

/// Time in seconds for which a replaced key verifies tokens after the last of them expired:
/// servers over one directory may have different clocks.
const CLOCK_MARGIN: i64 = 120;

/// The file of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kid: String,
    /// Time in seconds since 1970 from which the key signs, until a newer one does.
    signs_from: i64,
    /// Position in the order of creation, which decides between keys of the same second.
    #[serde(default)]
    number: u64,
    /// Private key: the seed of 32 bytes in base64url.
    seed: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    signs_from: i64,
    number: u64,
    pair: Ed25519KeyPair,
}

/// Public facts about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyInfo {
    /// Key id.
    pub kid: String,
    /// Time in seconds since 1970 from which the key signs.
    pub signs_from: i64,
}

impl SigningKey {
    fn from_seed(seed: &[u8], signs_from: i64, number: u64) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let x = BASE64URL.encode(pair.public_key());
        // Members of the thumbprint in their order (RFC 8037 appendix A.3).
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Some(Self { kid: BASE64URL.encode(Sha256::digest(members)), signs_from, number, pair })
    }

    /// Returns the signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Returns the public key, 32 bytes.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn jwk(&self) -> Value {
        let x = BASE64URL.encode(self.public());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x})
    }
}

/// Source of the keys that verify tokens.
pub(crate) struct VerifyingKeys<'a>(pub(crate) &'a StateDir);

impl VerifyingKeys<'_> {
    /// Returns the public key with this id.
    pub(crate) fn public(&self, kid: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.key(kid)?.map(|key| key.public().to_vec()))
    }
}

impl StateDir {
    fn key_path(&self, kid: &str) -> PathBuf {
        self.root.join("keys").join(kid)
    }

    /// Returns the key with this id, which may come from a token.
    fn key(&self, kid: &str) -> Result<Option<SigningKey>, StateError> {
        let is_id = kid.len() == ID_LEN && kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !is_id {
            return Ok(None);
        }
        let path = self.key_path(kid);
        let Some(json) = files::read(&path, files::SMALL_MAX)?.map(Zeroizing::new) else { return Ok(None) };
        let parsed = serde_json::from_slice::<KeyFile>(&json).ok().and_then(|file| {
            let seed = Zeroizing::new(BASE64URL.decode(&file.seed).ok()?);
            SigningKey::from_seed(&seed, file.signs_from, file.number).filter(|key| key.kid == kid && file.kid == kid)
        });
        parsed.map(Some).ok_or(StateError::Malformed(path, "not a signing key"))
    }

    /// Returns all keys, the oldest first.
    pub(super) fn keys(&self) -> Result<Vec<SigningKey>, StateError> {
        let mut keys = Vec::new();
        for kid in files::names(&self.root.join("keys"))? {
            // Another process may have removed it.
            keys.extend(self.key(&kid)?);
        }
        keys.sort_by_key(|key| (key.signs_from, key.number));
        Ok(keys)
    }

    /// Returns id and start of each key, the oldest first.
    ///
    /// # Errors
    /// The errors of reading the files.
    pub fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, StateError> {
        let keys = self.keys()?.into_iter();
        Ok(keys.map(|key| SigningKeyInfo { kid: key.kid, signs_from: key.signs_from }).collect())
    }

    /// Returns the key that signs tokens at `now`. `None` if there is none.
    pub(crate) fn signing_key(&self, now: i64) -> Result<Option<SigningKey>, StateError> {
        let mut keys = self.keys()?;
        let current = keys.iter().rposition(|key| key.signs_from <= now).unwrap_or(0);
        Ok((current < keys.len()).then(|| keys.swap_remove(current)))
    }

    /// Returns the JSON Web Key Set (RFC 7517) of all keys.
    ///
    /// # Errors
    /// The errors of reading the files.
    pub fn jwks(&self) -> Result<Value, StateError> {
        Ok(json!({ "keys": self.keys()?.iter().map(SigningKey::jwk).collect::<Vec<_>>() }))
    }

    /// Creates the first key, if there is none.
    ///
    /// # Errors
    /// The errors of reading and writing.
    pub fn ensure_key(&self, now: i64) -> Result<(), StateError> {
        let _lock = self.lock()?;
        if self.keys()?.is_empty() { self.add_key(now).map(drop) } else { Ok(()) }
    }

    /// Adds a key that signs from `signs_from`, and removes the keys that no valid token needs
    /// any more at `now`; all other keys if `revoke` is set, which invalidates every token.
    ///
    /// # Errors
    /// The errors of reading and writing.
    pub fn rotate_key(&self, now: i64, signs_from: i64, revoke: bool) -> Result<SigningKeyInfo, StateError> {
        let _lock = self.lock()?;
        let settings = self.settings()?;
        let new = self.add_key(signs_from)?;
        let keys = self.keys()?;
        for (key, successor) in keys.iter().zip(keys.iter().skip(1).map(Some).chain([None])) {
            let is_expired = successor.is_some_and(|next| {
                next.signs_from.saturating_add(settings.token_seconds.max(0)).saturating_add(CLOCK_MARGIN) < now
            });
            if key.kid != new.kid && (revoke || is_expired) {
                files::remove(&self.key_path(&key.kid))?;
            }
        }
        Ok(new)
    }

    fn add_key(&self, signs_from: i64) -> Result<SigningKeyInfo, StateError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| StateError::Crypto)?;
        let number = self.keys()?.iter().map(|key| key.number).max().unwrap_or(0).saturating_add(1);
        let key = SigningKey::from_seed(&*seed, signs_from, number).ok_or(StateError::Crypto)?;
        let file = KeyFile { kid: key.kid.clone(), signs_from, number, seed: BASE64URL.encode(*seed) };
        files::replace(&self.key_path(&key.kid), &Zeroizing::new(files::json(&file)))?;
        Ok(SigningKeyInfo { kid: key.kid, signs_from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.3.
    #[test]
    fn the_key_id_is_the_thumbprint_of_the_rfc() {
        let seed = BASE64URL.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::from_seed(&seed, 0, 0).unwrap();
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }

    #[test]
    fn a_new_key_signs_and_the_old_one_verifies_until_its_tokens_have_expired() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(dir.path()).unwrap();
        state.ensure_key(1000).unwrap();
        state.ensure_key(1001).unwrap();
        let old = state.signing_key(1000).unwrap().unwrap().kid;
        let new = state.rotate_key(2000, 2100, false).unwrap().kid;
        assert_eq!(state.signing_key(2099).unwrap().unwrap().kid, old);
        assert_eq!(state.signing_key(2100).unwrap().unwrap().kid, new);
        assert_eq!(state.jwks().unwrap()["keys"].as_array().unwrap().len(), 2);
        let kept = state.rotate_key(2100 + 3600 + 120, 9000, false).unwrap().kid;
        assert!(state.key(&old).unwrap().is_some());
        let last = state.rotate_key(2100 + 3600 + 121, 9000, false).unwrap().kid;
        assert!(state.key(&old).unwrap().is_none());
        assert_eq!(state.signing_keys().unwrap().len(), 3, "{kept} {last}");
        // Of several keys of one second, the last one signs.
        for _ in 0..8 {
            let new = state.rotate_key(9000, 9000, false).unwrap().kid;
            assert_eq!(state.signing_key(9000).unwrap().unwrap().kid, new);
        }
        let only = state.rotate_key(9000, 9000, true).unwrap();
        assert_eq!(state.signing_keys().unwrap(), [only]);
    }

    #[test]
    fn a_key_id_is_never_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(dir.path()).unwrap();
        for kid in ["", "../users/x", &"/".repeat(ID_LEN), &".".repeat(ID_LEN)] {
            assert!(state.key(kid).unwrap().is_none(), "{kid}");
        }
    }
}
