//! Verification of the signature of tokens.

use loader_api::Token;
use loader_api::jwt::{KeyError, Verifier};
use loader_model::User;
use loader_stage::{ErrorCode, Failure, OrFail, Stage};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Maximum size of a key file in bytes.
const MAX_KEY_FILE_LEN: usize = 64 * 1024;

/// Options for the keys that verify tokens.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Verify with this public key (PEM) or HMAC secret
    #[arg(long, value_name = "PATH", env = "AZ_JWT_KEY_FILE", hide_env = true)]
    pub jwt_key_file: Option<PathBuf>,

    /// Verify with the key from this JSON Web Key Set that the token names
    #[arg(long, value_name = "PATH", env = "AZ_JWKS_FILE", hide_env = true)]
    pub jwks_file: Option<PathBuf>,
}

impl VerifyArgs {
    /// Reads the keys. Returns `None` if no file is given.
    ///
    /// # Errors
    /// `config` if both files are given, if a file contains no usable key, or if another user
    /// can read an HMAC secret; the errors of [`Stage::input`].
    pub fn read(&self, stage: &Stage) -> Result<Option<Verifier>, Failure> {
        match (&self.jwt_key_file, &self.jwks_file) {
            (None, None) => Ok(None),
            (Some(path), None) => read(stage, path, Verifier::from_key_file).map(Some),
            (None, Some(path)) => read(stage, path, Verifier::from_jwks).map(Some),
            (Some(_), Some(_)) => {
                Err(Failure::new(ErrorCode::Config, "both a key and a key set are given to verify the token")
                    .hint("use only one of --jwt-key-file and --jwks-file".to_owned()))
            }
        }
    }
}

fn read(stage: &Stage, path: &Path, parse: impl Fn(&[u8]) -> Result<Verifier, KeyError>) -> Result<Verifier, Failure> {
    let mut input = stage.input(path)?;
    let bytes = input.read_all(MAX_KEY_FILE_LEN)?;
    let verifier = parse(&bytes).or_fail_at(input.name())?;
    if verifier.holds_secret() {
        stage.check_permissions(&input, "HMAC secret")?;
    }
    Ok(verifier)
}

/// Returns the user of `token`, after verifying the token if there is a `verifier`.
///
/// # Errors
/// `not_permitted` if the token has a wrong signature, has expired or is not valid yet;
/// `clock` if the clock was not set; `malformed`.
pub fn user_from_token(token: &Token, verifier: Option<&Verifier>) -> Result<User, Failure> {
    match verifier {
        None => Ok(token.user()),
        Some(verifier) => verifier.verify(token, SystemTime::now()).or_fail(),
    }
}
