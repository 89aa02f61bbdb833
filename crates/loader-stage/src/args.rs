//! Option groups that several filters share.

use crate::SecretSource;
use std::path::PathBuf;

/// Options that every filter has.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct StageArgs {
    /// Also append the events to this file
    #[arg(long, value_name = "PATH", env = "AZ_EVENTS_FILE", hide_env = true)]
    pub events_file: Option<PathBuf>,

    /// Accept secret files that other users can read or replace
    #[arg(long)]
    pub insecure_perms: bool,
}

/// Options for the output.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct OutputArgs {
    /// Write FILE atomically; keep link and mode (secrets: mode 0600)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write secrets or binary data even to a terminal
    #[arg(long)]
    pub force: bool,
}

/// Options for the key.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct KeyArgs {
    /// File with the key line; - is standard input
    #[arg(long, value_name = "PATH", env = "AZ_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// Read the key line from this descriptor instead
    #[arg(long, value_name = "N")]
    pub key_fd: Option<u32>,
}

impl KeyArgs {
    /// Returns the source of the secret named "key".
    pub fn source(&self) -> SecretSource<'_> {
        SecretSource::new("key", self.key_file.as_deref(), self.key_fd)
    }
}

/// Options for the token.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct TokenArgs {
    /// File with the JWT; default: standard input
    #[arg(long, value_name = "PATH", env = "AZ_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Read the JWT from this descriptor instead
    #[arg(long, value_name = "N")]
    pub token_fd: Option<u32>,
}

impl TokenArgs {
    /// Returns the source of the secret named "token"; standard input by default.
    pub fn source(&self) -> SecretSource<'_> {
        SecretSource::new("token", self.token_file.as_deref(), self.token_fd).or_stdin()
    }
}

/// Options for email and password.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct CredentialsArgs {
    /// File with {"email":"...","password":"..."}, mode 0600
    #[arg(long, value_name = "PATH", env = "AZ_CREDENTIALS_FILE")]
    pub credentials_file: Option<PathBuf>,

    /// Read the credentials from this descriptor instead
    #[arg(long, value_name = "N")]
    pub credentials_fd: Option<u32>,
}

impl CredentialsArgs {
    /// Returns the source of the secret named "credentials".
    pub fn source(&self) -> SecretSource<'_> {
        SecretSource::new("credentials", self.credentials_file.as_deref(), self.credentials_fd)
    }
}
