//! Tokens: JWS compact serialisation with EdDSA (RFC 7515, RFC 8037, RFC 7519).

use crate::state::{SigningKey, StateError, VerifyingKeys};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Map, Value, json};

/// The only algorithm that is signed with and accepted, whatever a token names.
const ALGORITHM: &str = "EdDSA";

/// Type of the tokens, so that nothing else that a key may sign is taken for one.
const TYPE: &str = "JWT";

/// Maximum length of a token in bytes.
const TOKEN_MAX: usize = 4096;

/// Claims of an issued token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenClaims {
    /// UUID of the user.
    pub(crate) nameid: String,
    /// Email address of the user.
    pub(crate) unique_name: String,
    /// Role, unchanged from the user's file. Only for display: the server uses the file.
    pub(crate) role: Value,
    /// Generation of the user's file.
    pub(crate) generation: u64,
    /// Start of validity in seconds since 1970.
    pub(crate) nbf: i64,
    /// Expiry time in seconds since 1970.
    pub(crate) exp: i64,
}

/// Reason why a token is refused.
#[derive(Debug)]
pub(crate) enum TokenRejection {
    /// Not three parts, not base64url, not JSON, another algorithm, or a claim is missing.
    Malformed,
    /// The signature does not match, or the key does not exist.
    Signature,
    /// The token has expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The keys cannot be read.
    State(StateError),
}

/// Returns a token with these claims, and the role in the claim `role_claim`.
pub(crate) fn sign(key: &SigningKey, role_claim: &str, claims: &TokenClaims) -> String {
    let mut payload = Map::new();
    payload.insert(role_claim.to_owned(), claims.role.clone());
    payload.insert("nameid".into(), claims.nameid.clone().into());
    payload.insert("unique_name".into(), claims.unique_name.clone().into());
    payload.insert("generation".into(), claims.generation.into());
    payload.insert("nbf".into(), claims.nbf.into());
    payload.insert("exp".into(), claims.exp.into());
    let header = json!({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}).to_string();
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(Value::Object(payload).to_string()));
    let signature = BASE64URL.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Verifies a token at `now` (seconds since 1970) and returns its claims.
pub(crate) fn verify(keys: &VerifyingKeys<'_>, token: &str, now: i64) -> Result<TokenClaims, TokenRejection> {
    if token.len() > TOKEN_MAX {
        return Err(TokenRejection::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenRejection::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenRejection::Malformed)?;
    let header = decode(header)?;
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    // A key in the header (jwk, jku, x5c) is never used; an extension (crit) is not supported.
    if text("alg") != Some(ALGORITHM) || text("typ") != Some(TYPE) || header.contains_key("crit") {
        return Err(TokenRejection::Malformed);
    }
    let kid = text("kid").ok_or(TokenRejection::Malformed)?;
    let signature = BASE64URL.decode(signature).map_err(|_| TokenRejection::Malformed)?;
    let public = keys.public(kid).map_err(TokenRejection::State)?.ok_or(TokenRejection::Signature)?;
    let verified = UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature);
    verified.map_err(|_| TokenRejection::Signature)?;
    let claims = claims(&decode(payload)?).ok_or(TokenRejection::Malformed)?;
    if now >= claims.exp {
        Err(TokenRejection::Expired)
    } else if now < claims.nbf {
        Err(TokenRejection::NotYetValid)
    } else {
        Ok(claims)
    }
}

fn claims(payload: &Map<String, Value>) -> Option<TokenClaims> {
    Some(TokenClaims {
        nameid: payload.get("nameid")?.as_str()?.to_owned(),
        unique_name: payload.get("unique_name")?.as_str()?.to_owned(),
        role: Value::Null,
        generation: payload.get("generation")?.as_u64()?,
        nbf: payload.get("nbf")?.as_i64()?,
        exp: payload.get("exp")?.as_i64()?,
    })
}

fn decode(part: &str) -> Result<Map<String, Value>, TokenRejection> {
    let json = BASE64URL.decode(part).map_err(|_| TokenRejection::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenRejection::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateDir;
    use tempfile::TempDir;

    fn state() -> (TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(dir.path()).unwrap();
        state.ensure_key(0).unwrap();
        (dir, state)
    }

    fn claims() -> TokenClaims {
        let role = json!(["Operator", 40]);
        TokenClaims { nameid: "n".into(), unique_name: "a@b".into(), role, generation: 3, nbf: 100, exp: 200 }
    }

    fn token(state: &StateDir) -> String {
        sign(&state.signing_key(0).unwrap().unwrap(), "role", &claims())
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp() {
        let (_dir, state) = state();
        let keys = VerifyingKeys(&state);
        let token = token(&state);
        assert_eq!(verify(&keys, &token, 100).unwrap(), TokenClaims { role: Value::Null, ..claims() });
        assert!(matches!(verify(&keys, &token, 200), Err(TokenRejection::Expired)));
        assert!(matches!(verify(&keys, &token, 99), Err(TokenRejection::NotYetValid)));
        state.rotate_key(0, 0, false).unwrap();
        assert!(verify(&keys, &token, 150).is_ok());
        state.rotate_key(0, 0, true).unwrap();
        assert!(matches!(verify(&keys, &token, 150), Err(TokenRejection::Signature)));
    }

    /// A token is never accepted for another algorithm, another key or without a signature.
    #[test]
    fn a_token_with_another_key_or_algorithm_is_refused() {
        let ((_dir, state), (_other_dir, other)) = (state(), state());
        let keys = VerifyingKeys(&state);
        assert!(matches!(verify(&keys, &token(&other), 150), Err(TokenRejection::Signature)));
        let good = token(&state);
        let key = state.signing_key(0).unwrap().unwrap();
        let payload = good.split('.').nth(1).unwrap();
        let with = |header: Value, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
            let signed = format!("{}.{payload}", BASE64URL.encode(header.to_string()));
            let signature = BASE64URL.encode(sign(signed.as_bytes()));
            verify(&keys, &format!("{signed}.{signature}"), 150)
        };
        let right = |message: &[u8]| key.sign(message);
        assert!(with(json!({"alg": "EdDSA", "typ": "JWT", "kid": key.kid}), &right).is_ok());
        let hmac = |message: &[u8]| {
            let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.public());
            ring::hmac::sign(&secret, message).as_ref().to_vec()
        };
        let attacker = other.signing_key(0).unwrap().unwrap();
        let foreign = |message: &[u8]| attacker.sign(message);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(attacker.public())});
        for (header, sign) in [
            (json!({"alg": "HS256", "typ": "JWT", "kid": key.kid}), &hmac as &dyn Fn(&[u8]) -> Vec<u8>),
            (json!({"alg": "none", "typ": "JWT", "kid": key.kid}), &|_| Vec::new()),
            (json!({"alg": "EdDSA", "typ": "JWT", "kid": key.kid}), &|_| Vec::new()),
            (json!({"alg": "EdDSA", "typ": "JWT", "kid": key.kid, "jwk": jwk}), &foreign),
            (json!({"alg": "EdDSA", "typ": "JWT", "kid": "../users/a@b"}), &foreign),
            (json!({"alg": "EdDSA", "typ": "JWT"}), &right),
            (json!({"alg": "EdDSA", "typ": "other", "kid": key.kid}), &right),
            (json!({"alg": "EdDSA", "typ": "JWT", "kid": key.kid, "crit": ["exp"]}), &right),
        ] {
            assert!(with(header.clone(), sign).is_err(), "{header}");
        }
        for broken in ["", ".", "..", "x.y.z", &good[1..], &good[..good.len() - 1], &"a".repeat(TOKEN_MAX + 1)] {
            assert!(verify(&keys, broken, 150).is_err(), "{broken}");
        }
    }
}
