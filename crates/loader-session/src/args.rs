//! Option groups of the networked filters.

use clap::builder::FalseyValueParser;
use loader_api::{ApiConfig, ApiPaths, Client};
use loader_http::{ClientCert, Http, HttpConfig, Notify, Retry};
use loader_model::CdnCredentials;
use loader_stage::{CredentialsArgs, ErrorCode, Failure, OrFail, SecretSource, Stage};
use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Options for connections.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection options")]
pub struct HttpArgs {
    /// Trust only the certificates in this PEM file
    #[arg(long, value_name = "PATH", env = "AZ_CA_FILE", hide_env = true)]
    pub ca_file: Option<PathBuf>,

    /// Client certificate (PEM) for servers that request one
    #[arg(long, value_name = "PATH", env = "AZ_CLIENT_CERT_FILE", hide_env = true)]
    pub client_cert_file: Option<PathBuf>,

    /// Private key (PEM) of the client certificate
    #[arg(long, value_name = "PATH", env = "AZ_CLIENT_KEY_FILE", hide_env = true)]
    pub client_key_file: Option<PathBuf>,

    /// Allow plain http to other machines
    #[arg(long, env = "AZ_INSECURE_HTTP", hide_env = true, value_parser = FalseyValueParser::new())]
    pub insecure_http: bool,

    /// Retry failed requests at most N times
    #[arg(long, value_name = "N", env = "AZ_RETRIES", hide_env = true, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,

    /// Longest wait in seconds before the first retry; it doubles with each retry
    #[arg(long, value_name = "SECONDS", env = "AZ_RETRY_WAIT", hide = true, default_value = "1.5", value_parser = parse_seconds)]
    pub retry_wait: Duration,

    /// Longest wait in seconds for the next byte
    #[arg(long, value_name = "SECONDS", env = "AZ_IDLE_TIMEOUT", hide = true, default_value = "30", value_parser = parse_seconds)]
    pub idle_timeout: Duration,

    /// The HTTP agent; it is created once, so that the client key is only read once.
    #[arg(skip)]
    agent: OnceCell<Http>,
}

impl HttpArgs {
    /// Returns the HTTP agent with these options, which all servers share.
    ///
    /// # Errors
    /// `config` if a certificate or the proxy is not usable, or if another user can read the
    /// key of the client certificate.
    pub fn agent(&self, stage: &Stage) -> Result<Http, Failure> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(stage)?;
        Ok(self.agent.get_or_init(|| agent).clone())
    }

    fn new_agent(&self, stage: &Stage) -> Result<Http, Failure> {
        let client_cert = match (&self.client_cert_file, &self.client_key_file) {
            (None, None) => None,
            (Some(cert), Some(path)) => {
                let key = stage.secret(SecretSource::new("key of the client certificate", Some(path), None))?;
                let key_name = path.display().to_string();
                Some(ClientCert { cert: cert.clone(), key: key.unwrap_or_default(), key_name })
            }
            _ => {
                return Err(Failure::new(ErrorCode::Config, "a client certificate and its key must be given together")
                    .hint("use both --client-cert-file and --client-key-file".to_owned()));
            }
        };
        let config = HttpConfig {
            insecure_http: self.insecure_http,
            ca_file: self.ca_file.clone(),
            client_cert,
            idle_timeout: self.idle_timeout,
            retry: Retry { attempts: self.retries + 1, first_wait: self.retry_wait, ..Retry::default() },
            ..HttpConfig::default()
        };
        Http::new(config).or_fail()
    }
}

/// Options for the API. The options for its paths are rarely needed and hidden in the help.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiArgs {
    /// Base URL of the API
    #[arg(long, value_name = "URL", env = "AZ_API_URL")]
    pub api_url: Option<String>,

    /// Path of the login request
    #[arg(long, value_name = "PATH", env = "AZ_LOGIN_PATH", hide = true)]
    pub login_path: Option<String>,

    /// Path of the request for a resource, with `{folder}`
    #[arg(long, value_name = "PATH", env = "AZ_RESOURCES_GET_PATH", hide = true)]
    pub resources_get_path: Option<String>,

    /// Path of the request for the list of a folder, with `{folder}`
    #[arg(long, value_name = "PATH", env = "AZ_RESOURCES_LIST_PATH", hide = true)]
    pub resources_list_path: Option<String>,

    /// Path of the upload of a resource, with `{folder}`
    #[arg(long, value_name = "PATH", env = "AZ_RESOURCES_PUT_PATH", hide = true)]
    pub resources_put_path: Option<String>,

    /// Path of the request for the key fragment
    #[arg(long, value_name = "PATH", env = "AZ_KEY_FRAGMENT_PATH", hide = true)]
    pub key_fragment_path: Option<String>,

    /// Options for connections.
    #[command(flatten)]
    pub http: HttpArgs,
}

impl ApiArgs {
    /// Creates a client with these options, which calls `notify` before each retry.
    ///
    /// # Errors
    /// `config` if no URL is given or an option is not usable.
    pub fn client<'n>(&self, stage: &Stage, notify: Notify<'n>) -> Result<Client<'n>, Failure> {
        let base_url = self.api_url.clone().filter(|url| !url.trim().is_empty()).ok_or_else(|| {
            Failure::new(ErrorCode::Config, "no API URL given")
                .hint("use --api-url URL, AZ_API_URL, or api_url in config.yaml".to_owned())
        })?;
        let default = ApiPaths::default();
        let paths = ApiPaths {
            login: path(&self.login_path, default.login)?,
            get: path(&self.resources_get_path, default.get)?,
            list: path(&self.resources_list_path, default.list)?,
            put: path(&self.resources_put_path, default.put)?,
            key_fragment: path(&self.key_fragment_path, default.key_fragment)?,
        };
        Client::new(ApiConfig { base_url, paths }, self.http.agent(stage)?, notify).or_fail()
    }
}

fn path(given: &Option<String>, default: String) -> Result<String, Failure> {
    match given {
        Some(path) if !path.starts_with('/') => {
            let path = loader_model::printable(path);
            Err(Failure::new(ErrorCode::Config, format_args!("the API path {path} does not begin with a slash")))
        }
        Some(path) => Ok(path.clone()),
        None => Ok(default),
    }
}

/// Options for the user and the device that responses of the server are sealed to.
#[derive(Debug, Clone, clap::Args)]
pub struct BindingArgs {
    /// Email and password; the password is needed to open what is sealed to the user.
    #[command(flatten)]
    pub credentials: CredentialsArgs,

    /// File with a hardware id; default: that of this device
    #[arg(long, value_name = "PATH", env = "AZ_HWID_FILE")]
    pub hwid_file: Option<PathBuf>,

    /// Read the hardware id from the system below DIR instead of /
    #[arg(long, value_name = "DIR", env = "AZ_SYSROOT", default_value = "/", hide = true)]
    pub sysroot: PathBuf,

    /// Enrolment card of az-hwid --enroll, to report changed hardware
    #[arg(long, value_name = "FILE", env = "AZ_HWID_CARD", hide_env = true)]
    pub hwid_card: Option<PathBuf>,

    /// File with the device secret, 64 hexadecimal digits
    #[arg(long, value_name = "PATH", env = "AZ_DEVICE_SECRET_FILE", hide_env = true)]
    pub device_secret_file: Option<PathBuf>,
}

/// Smallest and largest size that [`parse_size`] accepts, in bytes.
const SIZE_RANGE: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// Parses a size in bytes from 64K to 1G: a number, optionally followed by K, M or G (powers
/// of 1024).
///
/// # Errors
/// A description of the expected form or range.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match size {
        None => Err("expected a number of bytes, such as 512K or 8M".to_owned()),
        Some(size) if !SIZE_RANGE.contains(&size) => Err("expected 64K to 1G".to_owned()),
        Some(size) => Ok(size),
    }
}

/// Parses a decimal number of seconds from 0.01 to 3600.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.01 to 3600".to_owned())
}

/// Options for the credentials of the CDN.
#[derive(Debug, Clone, clap::Args)]
pub struct CdnArgs {
    /// File with the output of az-cdn-creds
    #[arg(long, value_name = "PATH", env = "AZ_CDN_FILE")]
    pub cdn_file: Option<PathBuf>,

    /// Read the CDN credentials from this descriptor instead
    #[arg(long, value_name = "N")]
    pub cdn_fd: Option<u32>,
}

impl CdnArgs {
    /// Reads the credentials of the CDN. Returns `None` if they have no source.
    ///
    /// # Errors
    /// `malformed` if the content is not their JSON; the errors of [`Stage::secret`].
    pub fn read(&self, stage: &Stage) -> Result<Option<CdnCredentials>, Failure> {
        let from = SecretSource::new("CDN credentials", self.cdn_file.as_deref(), self.cdn_fd);
        let Some(json) = stage.secret(from)? else { return Ok(None) };
        let cdn = serde_json::from_slice(&json).map_err(|_| {
            Failure::new(ErrorCode::Malformed, "the CDN credentials are not the JSON that az-cdn-creds prints")
        })?;
        Ok(Some(cdn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_outside_the_range_are_refused() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "3601", "NaN", "1s", ""] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_may_have_a_unit_and_has_limits() {
        assert_eq!(
            (parse_size("512K"), parse_size("8m"), parse_size("65536")),
            (Ok(512 << 10), Ok(8 << 20), Ok(65536))
        );
        for bad in ["", "K", "8MB", "-1", "1K", "2G", "99999999999999999999M"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
