//! Tokens: JWS compact serialisation with HS256 (RFC 7515, RFC 7518 section 3.2,
//! RFC 7519).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// TokenClaims of an issued token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenClaims {
    /// UUID of the user.
    pub(crate) nameid: String,
    /// Email address of the user.
    pub(crate) unique_name: String,
    /// Role, unchanged from `users.json`.
    pub(crate) role: Value,
    /// Start of validity in seconds since 1970.
    pub(crate) nbf: i64,
    /// Expiry time in seconds since 1970.
    pub(crate) exp: i64,
}

/// Reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRejection {
    /// Not three parts, not base64url, not JSON, another algorithm, or a claim is missing.
    Malformed,
    /// The signature does not match.
    Signature,
    /// The token has expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
}

/// Signs and verifies tokens with one secret.
pub(crate) struct TokenSigner {
    secret: Vec<u8>,
    role_claim: String,
}

impl TokenSigner {
    /// Creates a signer that writes the role to the claim `role_claim`.
    pub(crate) fn new(secret: Vec<u8>, role_claim: String) -> Self {
        Self { secret, role_claim }
    }

    /// Returns the secret, for clients that verify tokens.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Returns a token with these claims.
    pub(crate) fn sign(&self, claims: &TokenClaims) -> String {
        let mut payload = Map::new();
        payload.insert("nameid".into(), claims.nameid.clone().into());
        payload.insert("unique_name".into(), claims.unique_name.clone().into());
        payload.insert(self.role_claim.clone(), claims.role.clone());
        payload.insert("nbf".into(), claims.nbf.into());
        payload.insert("exp".into(), claims.exp.into());
        let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(Value::Object(payload).to_string()));
        let tag = self.mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", BASE64URL.encode(tag))
    }

    /// Verifies a token at `now` (seconds since 1970) and returns its claims.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<TokenClaims, TokenRejection> {
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenRejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenRejection::Malformed)?;
        if decode(header)?.get("alg").and_then(Value::as_str) != Some("HS256") {
            return Err(TokenRejection::Malformed);
        }
        let tag = BASE64URL.decode(tag).map_err(|_| TokenRejection::Malformed)?;
        self.mac(signed).verify_slice(&tag).map_err(|_| TokenRejection::Signature)?;
        let claims = self.claims(&decode(payload)?).ok_or(TokenRejection::Malformed)?;
        if now >= claims.exp {
            Err(TokenRejection::Expired)
        } else if now < claims.nbf {
            Err(TokenRejection::NotYetValid)
        } else {
            Ok(claims)
        }
    }

    fn claims(&self, payload: &Map<String, Value>) -> Option<TokenClaims> {
        Some(TokenClaims {
            nameid: payload.get("nameid")?.as_str()?.to_owned(),
            unique_name: payload.get("unique_name")?.as_str()?.to_owned(),
            role: payload.get(&self.role_claim).cloned().unwrap_or_default(),
            nbf: payload.get("nbf")?.as_i64()?,
            exp: payload.get("exp")?.as_i64()?,
        })
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC accepts a key of any length (RFC 2104 section 2)")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length");
        mac.chain_update(signed)
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, TokenRejection> {
    let json = BASE64URL.decode(part).map_err(|_| TokenRejection::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenRejection::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> TokenSigner {
        TokenSigner::new(b"secret".to_vec(), "role".to_owned())
    }

    fn claims() -> TokenClaims {
        TokenClaims { nameid: "n".into(), unique_name: "a@b".into(), role: json!(["Operator", 40]), nbf: 100, exp: 200 }
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp() {
        let token = signer().sign(&claims());
        assert_eq!(signer().verify(&token, 100), Ok(claims()));
        assert_eq!(signer().verify(&token, 200), Err(TokenRejection::Expired));
        assert_eq!(signer().verify(&token, 99), Err(TokenRejection::NotYetValid));
    }

    #[test]
    fn a_token_of_another_secret_or_algorithm_is_refused() {
        let token = signer().sign(&claims());
        let other = TokenSigner::new(b"other".to_vec(), "role".to_owned());
        assert_eq!(other.verify(&token, 150), Err(TokenRejection::Signature));
        let payload = token.split('.').nth(1).unwrap();
        let none = format!("{}.{payload}.", BASE64URL.encode(r#"{"alg":"none"}"#));
        assert_eq!(signer().verify(&none, 150), Err(TokenRejection::Malformed));
        assert_eq!(signer().verify("", 150), Err(TokenRejection::Malformed));
    }

    /// Example of RFC 7515 appendix A.1.
    #[test]
    fn the_example_of_the_rfc_verifies() {
        let secret = BASE64URL
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
            .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = TokenSigner::new(secret, "role".to_owned()).mac(signed).finalize().into_bytes();
        assert_eq!(BASE64URL.encode(tag), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
