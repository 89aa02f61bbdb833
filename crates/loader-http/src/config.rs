//! What can be set about connections.

use crate::Retry;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Settings of the agent. The default is what the product ships with.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Longest time until a connection stands, TLS included, and separately for
    /// the name to resolve. 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for the next byte in either direction. 30 s. There is no
    /// deadline for a whole transfer.
    pub idle_timeout: Duration,
    /// True to accept plain http to hosts other than this one.
    pub insecure_http: bool,
    /// PEM file with the only certificates to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate this client shows to servers that ask for one.
    pub client_cert: Option<ClientCert>,
    /// True to use the proxy in `HTTPS_PROXY`, `ALL_PROXY` or `HTTP_PROXY`, save
    /// for loopback hosts and those in `NO_PROXY`.
    pub proxy_from_env: bool,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
    /// When and how often a request is repeated.
    pub retry: Retry,
}

/// A client certificate and its key.
#[derive(Clone)]
pub struct ClientCert {
    /// PEM file with the certificate chain, the client's own first.
    pub cert: PathBuf,
    /// The private key as PEM, without a passphrase.
    pub key: Zeroizing<Vec<u8>>,
    /// What messages call the key: where it came from.
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
