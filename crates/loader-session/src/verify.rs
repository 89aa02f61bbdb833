//! From options to a token that is known to be the server's.

use loader_api::Token;
use loader_api::jwt::{KeyError, Verifier};
use loader_model::User;
use loader_stage::{ErrorCode, Failure, Stage};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file with keys in bytes.
const KEYS_MAX: usize = 64 * 1024;

/// The keys that tokens are verified with.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Verify with this public key (PEM) or HMAC secret
    #[arg(long, value_name = "PATH", env = "AZ_JWT_KEY_FILE", hide_env = true)]
    pub jwt_key_file: Option<PathBuf>,

    /// Verify with the key of this JSON Web Key Set that the token names
    #[arg(long, value_name = "PATH", env = "AZ_JWKS_FILE", hide_env = true)]
    pub jwks_file: Option<PathBuf>,
}

impl VerifyArgs {
    /// The keys; `None` where none are named.
    ///
    /// # Errors
    /// `config` where both files are named, where one holds no usable key, or a
    /// secret and others can read it; those of [`Stage::input`].
    pub fn read(&self, stage: &Stage) -> Result<Option<Verifier>, Failure> {
        match (&self.jwt_key_file, &self.jwks_file) {
            (None, None) => Ok(None),
            (Some(path), None) => read(stage, path, Verifier::from_key_file).map(Some),
            (None, Some(path)) => read(stage, path, Verifier::from_jwks).map(Some),
            (Some(_), Some(_)) => {
                Err(Failure::new(ErrorCode::Config, "both a key and a key set are named to verify the token with")
                    .hint("name one of --jwt-key-file and --jwks-file".to_owned()))
            }
        }
    }
}

fn read(stage: &Stage, path: &Path, parse: impl Fn(&[u8]) -> Result<Verifier, KeyError>) -> Result<Verifier, Failure> {
    let mut input = stage.input(path)?;
    let bytes = input.read_all(KEYS_MAX)?;
    let verifier = parse(&bytes)
        .map_err(|error| Failure::new(error.code(), format_args!("{}: {error}", input.name())).hint(error.hint()))?;
    if verifier.holds_secret() {
        stage.check_permissions(&input, "HMAC secret")?;
    }
    Ok(verifier)
}

/// Whom `token` speaks of: verified, where there are keys to do it with.
///
/// # Errors
/// `not_permitted` where the token is not the server's or its life is not now,
/// `clock` where the clock was not set, `malformed`.
pub fn user_of(token: &Token, verifier: Option<&Verifier>) -> Result<User, Failure> {
    match verifier {
        None => Ok(token.user()),
        Some(verifier) => verifier
            .verify(token, SystemTime::now())
            .map_err(|error| Failure::new(error.code(), &error).hint(error.hint())),
    }
}
