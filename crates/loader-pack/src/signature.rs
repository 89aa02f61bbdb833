//! Signatures of publishers (crates/loader-pack/README.md, "Signatures").

use crate::ReleaseId;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use std::fmt;

/// Length of a public key in bytes.
const PUBLIC_KEY_LEN: usize = 32;

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Start of each signed message, so that the key can sign other things as well.
const DOMAIN: &[u8] = b"azs/v1/release";

/// Bytes of a SubjectPublicKeyInfo (RFC 8410) before the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Returns the message that a publisher signs: 14 bytes of domain, 32 bytes of release id.
pub fn signed_message(release: &ReleaseId) -> Vec<u8> {
    [DOMAIN, release.as_bytes()].concat()
}

/// Ed25519 public key of a publisher (RFC 8032).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublisherKey([u8; PUBLIC_KEY_LEN]);

impl PublisherKey {
    /// Returns the key in `der`, a SubjectPublicKeyInfo as `openssl pkey -pubout -outform DER`
    /// writes it; `None` for anything else.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&SPKI_PREFIX)?;
        key.try_into().map(Self).ok()
    }

    /// Returns the key as SubjectPublicKeyInfo, 44 bytes.
    fn to_spki(self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }
}

/// Writes the key id: SHA-256 of the SubjectPublicKeyInfo, 64 lower-case hexadecimal digits.
impl fmt::Display for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(Sha256::digest(self.to_spki())))
    }
}

/// Signature of a release id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    key: PublisherKey,
    signature: [u8; SIGNATURE_LEN],
}

impl Signature {
    /// Length of an encoded signature in bytes: key, signature.
    pub(crate) const ENCODED_LEN: usize = PUBLIC_KEY_LEN + SIGNATURE_LEN;

    /// Creates a signature that another program made with the private key of `key`. It is not
    /// verified. Returns `None` if `signature` does not have 64 bytes.
    pub fn new(key: PublisherKey, signature: &[u8]) -> Option<Self> {
        signature.try_into().map(|signature| Self { key, signature }).ok()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, signature) = bytes.split_first_chunk()?;
        Self::new(PublisherKey(*key), signature)
    }

    pub(crate) fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        bytes[..PUBLIC_KEY_LEN].copy_from_slice(&self.key.0);
        bytes[PUBLIC_KEY_LEN..].copy_from_slice(&self.signature);
        bytes
    }

    /// Returns the key that the signature claims to be made with.
    pub fn key(&self) -> PublisherKey {
        self.key
    }

    /// Returns true if the key made this signature of `release`.
    pub fn is_valid(&self, release: &ReleaseId) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key.0).verify(&signed_message(release), &self.signature).is_ok()
    }
}

/// Ed25519 private key of a publisher.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Returns the key in `der`, PKCS #8 (RFC 5958) as `openssl genpkey -algorithm ed25519
    /// -outform DER` writes it; `None` for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self).ok()
    }

    /// Returns the public key.
    pub fn public_key(&self) -> PublisherKey {
        let mut key = [0; PUBLIC_KEY_LEN];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublisherKey(key)
    }

    /// Signs `release`.
    pub fn sign(&self, release: &ReleaseId) -> Signature {
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(self.0.sign(&signed_message(release)).as_ref());
        Signature { key: self.public_key(), signature }
    }
}

/// Writes no secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}
