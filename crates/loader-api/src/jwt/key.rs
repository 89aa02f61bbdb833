//! A key and the algorithms of its family (RFC 7518 section 3.1, RFC 8037).

use super::{KeyError, der};
use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::hmac;
use ring::signature::{self as algorithms, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Minimum length of an HMAC secret in bytes: the length of the shortest digest.
const SECRET_MIN: usize = 32;

/// Supported lengths of an RSA modulus in bytes (limits of ring).
const MODULUS_LEN: std::ops::RangeInclusive<usize> = 256..=1024;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Algorithm identifiers of public keys, as content of the SEQUENCE: RFC 3279
/// section 2.3.1, RFC 5480 section 2.1.1, RFC 8410 section 3.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// Key material by family.
enum Material {
    Hmac(Zeroizing<Vec<u8>>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// Uncompressed point: the byte 4, then x and y with 32 bytes each.
    P256(Vec<u8>),
    /// Uncompressed point: the byte 4, then x and y with 48 bytes each.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key of the server.
pub(super) struct VerifyingKey {
    material: Material,
    /// `kid` of a key in a set.
    id: Option<String>,
    /// `alg` of a key in a set: the only algorithm it may be used with.
    alg: Option<String>,
}

/// Reason why a key does not verify a signature.
pub(super) enum SignatureError {
    /// The algorithm does not belong to this type of key.
    Algorithm(&'static str),
    /// The signature was not made with this key.
    Mismatch,
}

impl VerifyingKey {
    pub(super) fn from_file(bytes: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(bytes).ok().map(str::trim);
        let material = match text {
            Some(text) if text.contains("-----BEGIN") => from_public_key_info(&pem(text).ok_or(KeyError::Pem)?)?,
            _ => Material::Hmac(secret(bytes)?),
        };
        Ok(Self { material, id: None, alg: None })
    }

    /// Reads a key of a set (RFC 7517 section 4). Returns `None` if it is not for
    /// signatures or its type is not supported.
    pub(super) fn from_jwk(jwk: serde_json::Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            kid: Option<String>,
            alg: Option<String>,
            r#use: Option<String>,
            key_ops: Option<Vec<String>>,
            crv: Option<String>,
            n: Option<String>,
            e: Option<String>,
            x: Option<String>,
            y: Option<String>,
            k: Option<String>,
        }
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let for_signatures = jwk.r#use.as_ref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let field = |field: Option<String>| BASE64URL.decode(field?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => rsa(&field(jwk.n)?, &field(jwk.e)?),
            ("EC", Some(curve)) => point(curve, [&[4][..], &field(jwk.x)?, &field(jwk.y)?].concat()),
            ("OKP", Some("Ed25519")) => ed25519(&field(jwk.x)?),
            ("oct", _) => {
                let text = Zeroizing::new(jwk.k?);
                let secret = Zeroizing::new(BASE64URL.decode(text.as_bytes()).ok()?);
                (secret.len() >= SECRET_MIN).then_some(Material::Hmac(secret))
            }
            _ => None,
        }?;
        Some(Self { material, id: jwk.kid, alg: jwk.alg })
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Hmac(_))
    }

    pub(super) fn has_id(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// Verifies the signature of `message` with the algorithm `alg`.
    pub(super) fn verify(&self, alg: &str, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let kind = self.kind();
        if self.alg.as_ref().is_some_and(|only| only != alg) {
            return Err(SignatureError::Algorithm(kind));
        }
        let verified = match (&self.material, alg) {
            (Material::Hmac(secret), "HS256") => mac(hmac::HMAC_SHA256, secret, message, signature),
            (Material::Hmac(secret), "HS384") => mac(hmac::HMAC_SHA384, secret, message, signature),
            (Material::Hmac(secret), "HS512") => mac(hmac::HMAC_SHA512, secret, message, signature),
            (Material::Rsa(key), alg) => {
                let parameters = rsa_parameters(alg).ok_or(SignatureError::Algorithm(kind))?;
                key.verify(parameters, message, signature)
            }
            (Material::P256(key), "ES256") => {
                UnparsedPublicKey::new(&algorithms::ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            (Material::P384(key), "ES384") => {
                UnparsedPublicKey::new(&algorithms::ECDSA_P384_SHA384_FIXED, key).verify(message, signature)
            }
            (Material::Ed25519(key), "EdDSA" | "Ed25519") => {
                UnparsedPublicKey::new(&algorithms::ED25519, key).verify(message, signature)
            }
            _ => return Err(SignatureError::Algorithm(kind)),
        };
        verified.map_err(|_| SignatureError::Mismatch)
    }

    fn kind(&self) -> &'static str {
        match self.material {
            Material::Hmac(_) => "an HMAC secret",
            Material::Rsa(_) => "an RSA key",
            Material::P256(_) => "a P-256 key",
            Material::P384(_) => "a P-384 key",
            Material::Ed25519(_) => "an Ed25519 key",
        }
    }
}

fn mac(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8], tag: &[u8]) -> Result<(), ring::error::Unspecified> {
    hmac::verify(&hmac::Key::new(algorithm, secret), message, tag)
}

fn rsa_parameters(alg: &str) -> Option<&'static RsaParameters> {
    Some(match alg {
        "RS256" => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &algorithms::RSA_PSS_2048_8192_SHA256,
        "PS384" => &algorithms::RSA_PSS_2048_8192_SHA384,
        "PS512" => &algorithms::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Returns the content of the only PEM block in `text` (RFC 7468).
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (body, rest) = rest.split_once(PEM_END)?;
    let base64: String = body.split_ascii_whitespace().collect();
    if rest.contains("-----BEGIN") { None } else { BASE64_STANDARD.decode(base64).ok() }
}

fn from_public_key_info(der: &[u8]) -> Result<Material, KeyError> {
    let (algorithm, key) = der::public_key_info(der).ok_or(KeyError::Pem)?;
    let material = match algorithm {
        RSA => der::rsa_public_key(key).and_then(|(n, e)| rsa(n, e)),
        P256 => point("P-256", key.to_vec()),
        P384 => point("P-384", key.to_vec()),
        ED25519 => ed25519(key),
        _ => None,
    };
    material.ok_or(KeyError::Kind)
}

/// Reads an HMAC secret, and refuses the common formats of public keys.
fn secret(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    let unwrapped = Zeroizing::new(secret.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>());
    let is_base64 = |digits: &Alphabet| {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let der = GeneralPurpose::new(digits, config).decode(&*unwrapped).map(Zeroizing::new);
        der.is_ok_and(|der| der::is_sequence(&der))
    };
    // PowerShell writes text as UTF-16.
    let is_utf_16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let is_key = der::is_sequence(bytes)
        || der::is_sequence(secret)
        || is_base64(&alphabet::STANDARD)
        || is_base64(&alphabet::URL_SAFE)
        || is_utf_16
        || [&b"ssh-"[..], b"ecdsa-", b"{", b"---- BEGIN"]
            .iter()
            .any(|start| bytes.trim_ascii_start().starts_with(start));
    match secret.len() {
        _ if is_key => Err(KeyError::Form),
        len if len < SECRET_MIN => Err(KeyError::Short(len)),
        _ => Ok(Zeroizing::new(secret.to_vec())),
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let fits = MODULUS_LEN.contains(&n.len()) && n[0] != 0 && (1..=4).contains(&e.len()) && e[0] != 0;
    fits.then(|| Material::Rsa(RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() }))
}

fn point(curve: &str, point: Vec<u8>) -> Option<Material> {
    match (curve, point.len(), point.first()) {
        ("P-256", 65, Some(4)) => Some(Material::P256(point)),
        ("P-384", 97, Some(4)) => Some(Material::P384(point)),
        _ => None,
    }
}

fn ed25519(key: &[u8]) -> Option<Material> {
    (key.len() == 32).then(|| Material::Ed25519(key.to_vec()))
}
