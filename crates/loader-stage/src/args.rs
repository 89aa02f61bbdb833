//! Groups of options that several filters share.

use crate::SecretFrom;
use std::path::PathBuf;

/// Options of every filter.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct StageArgs {
    /// Append the event lines to this file too
    #[arg(long, value_name = "PATH", env = "AZ_EVENTS_FILE", hide_env = true)]
    pub events_file: Option<PathBuf>,

    /// Accept secret files that other users can read or replace
    #[arg(long)]
    pub insecure_perms: bool,
}

/// Where the output goes.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct OutputArgs {
    /// Write FILE whole or not at all; keep link and mode (secret: 0600)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write secrets or binary data even to a terminal
    #[arg(long)]
    pub force: bool,
}

/// Where the key comes from.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct KeyArgs {
    /// Key line; - is standard input
    #[arg(long, value_name = "PATH", env = "AZ_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// Key line on this file descriptor; wins over a file
    #[arg(long, value_name = "N")]
    pub key_fd: Option<u32>,
}

impl KeyArgs {
    /// The source of the secret called "key".
    pub fn source(&self) -> SecretFrom<'_> {
        SecretFrom::new("key", self.key_file.as_deref(), self.key_fd)
    }
}

/// Where the token comes from.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct TokenArgs {
    /// JWT as az-login prints it; without it, standard input
    #[arg(long, value_name = "PATH", env = "AZ_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// JWT on this file descriptor; wins over a file
    #[arg(long, value_name = "N")]
    pub token_fd: Option<u32>,
}

impl TokenArgs {
    /// The source of the secret called "token"; standard input by default.
    pub fn source(&self) -> SecretFrom<'_> {
        SecretFrom::new("token", self.token_file.as_deref(), self.token_fd).or_stdin()
    }
}

/// Where email and password come from.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct CredentialsArgs {
    /// {"email":"...","password":"..."}; readable by you alone
    #[arg(long, value_name = "PATH", env = "AZ_CREDENTIALS_FILE")]
    pub credentials_file: Option<PathBuf>,

    /// The same on this file descriptor; wins over a file
    #[arg(long, value_name = "N")]
    pub credentials_fd: Option<u32>,
}

impl CredentialsArgs {
    /// The source of the secret called "credentials".
    pub fn source(&self) -> SecretFrom<'_> {
        SecretFrom::new("credentials", self.credentials_file.as_deref(), self.credentials_fd)
    }
}
