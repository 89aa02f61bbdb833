//! Tokens: JWS compact serialisation with HS256 (RFC 7515, RFC 7518 section 3.2,
//! RFC 7519).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// What a token says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims {
    /// UUID of the user.
    pub(crate) nameid: String,
    /// Email address of the user.
    pub(crate) unique_name: String,
    /// Role, as it stands in the token.
    pub(crate) role: Value,
    /// Start of the token's life in seconds since 1970.
    pub(crate) nbf: i64,
    /// End of the token's life in seconds since 1970.
    pub(crate) exp: i64,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// Not three parts, not base64url, not JSON, another algorithm, or a claim is missing.
    Malformed,
    /// The signature is not the server's.
    Signature,
    /// Its life is over.
    Expired,
    /// Its life has not begun.
    NotYet,
}

/// Makes and checks tokens with one secret.
pub(crate) struct Signer {
    secret: Vec<u8>,
    role_claim: String,
}

impl Signer {
    /// A signer that writes the role under the claim `role_claim`.
    pub(crate) fn new(secret: Vec<u8>, role_claim: String) -> Self {
        Self { secret, role_claim }
    }

    /// The secret, for a client that verifies.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The token with these claims.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
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

    /// The claims of a token that is genuine and alive at `now`, in seconds since 1970.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if decode(header)?.get("alg").and_then(Value::as_str) != Some("HS256") {
            return Err(TokenError::Malformed);
        }
        let tag = BASE64URL.decode(tag).map_err(|_| TokenError::Malformed)?;
        self.mac(signed).verify_slice(&tag).map_err(|_| TokenError::Signature)?;
        let claims = self.claims(&decode(payload)?).ok_or(TokenError::Malformed)?;
        match claims {
            claims if now >= claims.exp => Err(TokenError::Expired),
            claims if now < claims.nbf => Err(TokenError::NotYet),
            claims => Ok(claims),
        }
    }

    fn claims(&self, payload: &Map<String, Value>) -> Option<Claims> {
        Some(Claims {
            nameid: payload.get("nameid")?.as_str()?.to_owned(),
            unique_name: payload.get("unique_name")?.as_str()?.to_owned(),
            role: payload.get(&self.role_claim).cloned().unwrap_or_default(),
            nbf: payload.get("nbf")?.as_i64()?,
            exp: payload.get("exp")?.as_i64()?,
        })
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 section 2)")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length");
        mac.chain_update(signed)
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, TokenError> {
    let json = BASE64URL.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(b"secret".to_vec(), "role".to_owned())
    }

    fn claims() -> Claims {
        Claims { nameid: "n".into(), unique_name: "a@b".into(), role: json!(["Operator", 40]), nbf: 100, exp: 200 }
    }

    #[test]
    fn a_token_lives_from_nbf_to_exp() {
        let token = signer().sign(&claims());
        assert_eq!(signer().verify(&token, 100), Ok(claims()));
        assert_eq!(signer().verify(&token, 200), Err(TokenError::Expired));
        assert_eq!(signer().verify(&token, 99), Err(TokenError::NotYet));
    }

    #[test]
    fn a_token_of_another_secret_or_algorithm_is_refused() {
        let token = signer().sign(&claims());
        let other = Signer::new(b"other".to_vec(), "role".to_owned());
        assert_eq!(other.verify(&token, 150), Err(TokenError::Signature));
        let payload = token.split('.').nth(1).unwrap();
        let none = format!("{}.{payload}.", BASE64URL.encode(r#"{"alg":"none"}"#));
        assert_eq!(signer().verify(&none, 150), Err(TokenError::Malformed));
        assert_eq!(signer().verify("", 150), Err(TokenError::Malformed));
    }

    /// The example of RFC 7515 appendix A.1: the same tag comes out.
    #[test]
    fn the_example_of_the_rfc_verifies() {
        let secret = BASE64URL
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
            .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = Signer::new(secret, "role".to_owned()).mac(signed).finalize().into_bytes();
        assert_eq!(BASE64URL.encode(tag), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
