//! Documents of the server: tokens, token keys, credentials, names, receipts.

use loader_api::Token;
use loader_api::jwt::Verifier;
use loader_model::{CdnCredentials, Credentials, PartsReceipt, ResourceName, yaml};
use std::time::{Duration, SystemTime};

/// Key of [`TOKEN`].
pub(crate) const JWT_SECRET: &[u8] = b"the secret of the property tests";

/// The only token that was signed with the key.
pub(crate) const TOKEN: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuYW1laWQiOiAiMDEyMzQ1NjctODlhYi1jZGVmLTAxMjMtNDU2Nzg5YWJjZGVmIiwgInVu",
    "aXF1ZV9uYW1lIjogIm9wZXJhdG9yQGV4YW1wbGUuY29tIiwgInJvbGUiOiBbIk9wZXJhdG9yIiwgMjBdLCAibmJmIjogMTcwMDAwMDAwMCwg",
    "ImV4cCI6IDQxMDI0NDQ4MDB9.WgYrBn6keg0j9Y0dQFyeW9obv5SnI5IWDM2jenCwTFY",
);

/// Secrets in the inputs, which no error may quote.
pub(crate) const SECRET: &str = "hunter2hunter2";

fn quotes_nothing(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.contains(SECRET), "{text}");
}

/// A token is stored unchanged and never shown. Only the server's own token verifies.
pub(super) fn jwt(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let token = match Token::parse(&text) {
        Ok(token) => token,
        Err(error) => return quotes_nothing(&error),
    };
    assert_eq!(token.as_str(), text.trim());
    assert!(!format!("{token:?}").contains(token.as_str()));
    let user = token.user();
    assert!(!user.verified);
    serde_json::to_string(&user).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let verified = Verifier::from_key_file(JWT_SECRET).unwrap().verify(&token, now);
    assert_eq!(verified.is_ok(), token.as_str() == TOKEN, "{verified:?}");
}

/// A key file is a key, a set of keys, or refused without being quoted. Only the server's
/// key verifies its token.
pub(super) fn jwt_key(input: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let token = Token::parse(TOKEN).unwrap();
    for verifier in [Verifier::from_key_file(input), Verifier::from_jwks(input)] {
        match verifier {
            Ok(verifier) if verifier.verify(&token, now).is_ok() => assert!(verifier.holds_secret()),
            Ok(_) => {}
            Err(error) => quotes_nothing(&error),
        }
    }
}

/// `cdn.yaml`, credentials, receipts and names are parsed or refused, never quoted. A name
/// never leaves its directory.
pub(super) fn cdn_yaml(input: &[u8]) {
    match yaml::from_slice::<CdnCredentials>(input) {
        Ok(cdn) => {
            let json = serde_json::to_vec(&cdn).unwrap();
            if json.len() <= yaml::MAX_BYTES {
                let again: CdnCredentials = yaml::from_slice(&json).unwrap();
                assert_eq!(serde_json::to_vec(&again).unwrap(), json);
            }
            assert!(!format!("{cdn:?}").contains(SECRET) || cdn.host.contains(SECRET) || cdn.bucket.is_some());
        }
        Err(error) => quotes_nothing(&error),
    }
    let _ = yaml::from_slice::<serde_json::Value>(input);
    if let Some(credentials) = Credentials::from_json(input) {
        assert!(!credentials.email.is_empty() && !credentials.password.is_empty());
    }
    if let Some(Ok((receipt, rest))) = PartsReceipt::split_prefix(input) {
        let (again, after) = PartsReceipt::split_prefix(&receipt.to_line())
            .map(Result::unwrap)
            .map(|(r, rest)| (r, rest.len()))
            .unwrap();
        assert_eq!((&again, after), (&receipt, 0));
        assert!(input.ends_with(rest));
    }
    if let Ok(name) = String::from_utf8_lossy(input).parse::<ResourceName>() {
        assert!(name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
    }
}
