//! Ed25519 keys as PEM files (RFC 7468), as openssl writes them.

use loader_pack::{PublisherKey, SigningKey};
use loader_stage::{ErrorCode, Failure, SecretSource, Stage};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::path::Path;

/// Returns the public keys in the PEM file at `path`, at least one. Sections of other kinds
/// are ignored.
///
/// # Errors
/// `config` if another user can change the file, or it contains no key or another kind of
/// key; those of [`Stage::input`].
pub fn public_keys(stage: &Stage, path: &Path) -> Result<Vec<PublisherKey>, Failure> {
    let text = stage.trusted_file(path, "public key of the publisher")?;
    let config = |what: &str| {
        Failure::new(ErrorCode::Config, format_args!("{}: {what}", path.display()))
            .hint("write it with openssl pkey -in PRIVATE -pubout -out PUBLIC, from an Ed25519 key".to_owned())
    };
    if text.windows(11).any(|bytes| bytes == b"PRIVATE KEY") {
        return Err(config("contains a private key, and only public keys belong here"));
    }
    let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(&text)
        .map(|section| {
            let der = section.map_err(|_| config("not valid PEM"))?;
            PublisherKey::from_spki(&der).ok_or_else(|| config("a key that is not an Ed25519 public key"))
        })
        .collect();
    keys.and_then(|keys| if keys.is_empty() { Err(config("contains no PEM public key")) } else { Ok(keys) })
}

/// Returns the private key in the PEM file at `path`; `-` is standard input.
///
/// # Errors
/// `config` if another user can read or change the file, or it contains no key, an encrypted
/// one or another kind of key; those of [`Stage::secret`].
pub fn signing_key(stage: &Stage, path: &Path) -> Result<SigningKey, Failure> {
    let text = stage.secret_text(SecretSource::new("sign-key", Some(path), None))?;
    let name = if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
    let config =
        |what: &str, hint: &str| Failure::new(ErrorCode::Config, format_args!("{name}: {what}")).hint(hint.to_owned());
    if text.contains("ENCRYPTED PRIVATE KEY") {
        return Err(config(
            "the signing key is encrypted",
            "decrypt it into a pipe: openssl pkey -in KEY | az-encrypt --sign-key-file - FILE",
        ));
    }
    let unusable = || {
        config(
            "not an Ed25519 private key in PEM",
            "write one with openssl genpkey -algorithm ed25519 -out KEY, mode 0600",
        )
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable())?;
    SigningKey::from_pkcs8(der.secret_pkcs8_der()).ok_or_else(unusable)
}
