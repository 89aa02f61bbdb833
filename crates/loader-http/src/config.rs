//! Connection settings.

use crate::Retry;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Multiple of [`HttpConfig::idle_timeout`] within which a complete response header, or
/// 4 KiB of a body, must arrive: two minutes by default.
pub(crate) const MAX_IDLE_PERIODS: u32 = 4;

/// Settings of the HTTP client. The released programs use the default values.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Maximum time to establish a connection, including TLS, and separately to
    /// resolve the host name. 10 s by default.
    pub connect_timeout: Duration,
    /// Maximum wait for the next byte in either direction. 30 s by default. There is
    /// no limit for a whole transfer.
    pub idle_timeout: Duration,
    /// Allows plain http to other machines.
    pub insecure_http: bool,
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate for servers that request a client certificate.
    pub client_cert: Option<ClientCert>,
    /// Uses the proxy in `HTTPS_PROXY`, `ALL_PROXY` or `HTTP_PROXY`, except for
    /// loopback hosts and those in `NO_PROXY`.
    pub proxy_from_env: bool,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
    /// Retry policy.
    pub retry: Retry,
}

/// A client certificate and its key.
#[derive(Clone)]
pub struct ClientCert {
    /// PEM file with the certificate chain, beginning with the client's own certificate.
    pub cert: PathBuf,
    /// Private key as PEM, without a passphrase.
    pub key: Zeroizing<Vec<u8>>,
    /// Origin of the key, for error messages.
    pub key_name: String,
}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCert").field("cert", &self.cert).field("key_name", &self.key_name).finish_non_exhaustive()
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            insecure_http: false,
            ca_file: None,
            client_cert: None,
            proxy_from_env: true,
            user_agent: concat!("azaion-loader/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: Retry::default(),
        }
    }
}
