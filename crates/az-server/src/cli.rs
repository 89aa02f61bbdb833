//! Command line of az-server.

use loader_model::Role;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const AFTER: &str = "\
Secrets are read from files with mode 0600, from standard input (-), or from a prompt. All commands
can be repeated: they succeed if there is nothing left to change. A running server uses a change
for the next request. Several servers can share one directory.

Examples:
  az-server user add cam-7@example.com --hardware-file hwid --credentials-file cam-7.json
  az-server fragment set fragment-1-of-2.frag
  az-server cdn set cdn.yaml
  az-server serve --listen 0.0.0.0:8443 --tls-cert-file cert.pem --tls-key-file key.pem
  az-server key rotate --if-older-than 30d";

/// Serve the HTTP API from a directory of plain files, and change that directory
#[derive(Debug, clap::Parser)]
#[command(version, after_help = AFTER)]
pub(crate) struct Cli {
    /// Directory with users, fragments, keys and resources; created by the first change
    #[arg(long, value_name = "DIR", env = "AZ_SERVER_DIR", default_value = "/var/lib/az-server", global = true)]
    pub(crate) dir: PathBuf,

    /// Accept secret files that other users can read or replace
    #[arg(long, global = true)]
    pub(crate) insecure_perms: bool,

    /// Also append a line for each change to FILE, as serve --audit-file does for requests
    #[arg(long, value_name = "FILE", env = "AZ_SERVER_AUDIT_FILE", global = true)]
    pub(crate) audit_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Serve the API until SIGTERM or SIGINT
    Serve(ServeArgs),
    /// Verify the directory; prints a line for each problem
    Check(CheckArgs),
    /// Add, change and list users
    #[command(subcommand)]
    User(UserCommand),
    /// Set the server's fragment of the key
    #[command(subcommand)]
    Fragment(FragmentCommand),
    /// Set the credentials of the CDN
    #[command(subcommand)]
    Cdn(CdnCommand),
    /// Rotate and list the keys that sign tokens
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address and port; without TLS only a loopback address
    #[arg(long, value_name = "ADDRESS:PORT", env = "AZ_SERVER_LISTEN", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,

    /// Certificate and intermediate certificates as PEM; reloaded when the file changes
    #[arg(long, value_name = "PEM", env = "AZ_SERVER_TLS_CERT_FILE", requires = "tls_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,

    /// Private key of the certificate as PEM
    #[arg(long, value_name = "PEM", env = "AZ_SERVER_TLS_KEY_FILE", requires = "tls_cert_file")]
    pub(crate) tls_key_file: Option<PathBuf>,

    /// Require client certificates of these authorities
    #[arg(long, value_name = "PEM", requires = "tls_cert_file")]
    pub(crate) client_ca_file: Option<PathBuf>,

    /// Use the last address in X-Forwarded-For, which a reverse proxy on this machine adds
    #[arg(long)]
    pub(crate) behind_proxy: bool,

    /// Serve /metrics and /healthz on this loopback address, without TLS
    #[arg(long, value_name = "ADDRESS:PORT", env = "AZ_SERVER_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Maximum number of open connections
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,

    /// Maximum number of open connections of one address
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections_per_address: u16,

    /// Maximum time to receive and answer a request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
    pub(crate) request_time: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Remove temporary files that killed processes left
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// File with the password; - is standard input [default: ask on the terminal]
    #[arg(long, value_name = "PATH")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; succeeds if the same user exists already
    Add {
        /// Email address
        email: String,
        /// Role: Operator, Validator, CompanionPC, Admin, ResourceUploader or ApiAdmin
        #[arg(long, default_value = "Operator", value_parser = parse_role)]
        role: Role,
        /// File with the hardware id of the device, as az-hwid prints it
        #[arg(long, value_name = "PATH")]
        hardware_file: Option<PathBuf>,
        /// File with the device secret, 64 hexadecimal digits
        #[arg(long, value_name = "PATH")]
        device_secret_file: Option<PathBuf>,
        /// File with email and password as az-login reads it; created with a random password if
        /// it does not exist
        #[arg(long, value_name = "PATH", conflicts_with = "password_file")]
        credentials_file: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Set the password; older tokens are invalid
    Passwd {
        /// Email address
        email: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Set the role; older tokens are invalid
    Role {
        /// Email address
        email: String,
        /// Role
        #[arg(value_parser = parse_role)]
        role: Role,
    },
    /// Bind the user to other hardware, such as after a board was replaced
    Hardware {
        /// Email address
        email: String,
        /// File with the hardware id; without it, the binding is removed
        #[arg(long, value_name = "PATH")]
        hardware_file: Option<PathBuf>,
    },
    /// Refuse every call of the user, immediately
    Lock {
        /// Email address
        email: String,
    },
    /// Accept calls of the user again, after a new login
    Unlock {
        /// Email address
        email: String,
    },
    /// Print one JSON line for each user
    List,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum FragmentCommand {
    /// Set the fragment; each user gets it sealed at the next login
    Set {
        /// File with the fragment; - is standard input
        file: PathBuf,
        /// Only for this user [default: for all that have none of their own]
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
    },
    /// Remove the fragment: the next unlock fails
    Remove {
        /// Only of this user [default: that of all others]
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum CdnCommand {
    /// Set the credentials for a role and higher ones
    Set {
        /// File with cdn.yaml, or the JSON of az-cdn-creds; - is standard input
        file: PathBuf,
        /// Lowest role that gets them; keys for uploads only reach roles that may upload
        #[arg(long, default_value = "Operator", value_parser = parse_role)]
        role: Role,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Add a key that signs tokens; older ones are removed when their tokens have expired
    Rotate {
        /// Do nothing if the newest key is younger, such as 30d
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        if_older_than: Option<Duration>,
        /// Publish the key now, and sign with it after this time
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
        after: Duration,
        /// Remove all other keys: every token is invalid
        #[arg(long, conflicts_with_all = ["if_older_than", "after"])]
        revoke: bool,
    },
    /// Print one JSON line for each key
    List,
    /// Print the public keys as a JSON Web Key Set
    Jwks,
}

fn parse_role(text: &str) -> Result<Role, String> {
    match Role::from_claim(&text.into()) {
        Role::Other(_) | Role::None => {
            Err("expected Operator, Validator, CompanionPC, Admin, ResourceUploader or ApiAdmin".to_owned())
        }
        role => Ok(role),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}
