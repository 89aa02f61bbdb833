//! Errors of HTTP requests.

use loader_model::{Coded, ErrorCode};
use std::time::Duration;
use ureq::http::StatusCode;

/// Reason why a request has no usable response. `host` is `host` or `host:port`,
/// followed by ` by proxy host:port` if a proxy is used. No text contains a path, a
/// query string or a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting is unusable. The second text is a hint.
    #[error("{0}")]
    Config(String, Option<&'static str>),
    /// No process listens on the port.
    #[error("{host}: connection refused")]
    Refused {
        /// Host of the server.
        host: String,
    },
    /// The host name does not resolve.
    #[error("{host}: name does not resolve")]
    NoSuchHost {
        /// Host of the server.
        host: String,
    },
    /// A timeout expired.
    #[error("{host}: {what}")]
    TimedOut {
        /// Host of the server.
        host: String,
        /// Which timeout, such as `no byte for 30 s`.
        what: String,
    },
    /// The connection broke.
    #[error("{host}: connection broke: {cause}")]
    Broken {
        /// Host of the server.
        host: String,
        /// Error text of the operating system.
        cause: String,
    },
    /// The body ended early.
    #[error("{host}: body ended after {got} of {expected} bytes")]
    Short {
        /// Host of the server.
        host: String,
        /// Number of bytes received.
        got: u64,
        /// Number of bytes announced.
        expected: u64,
    },
    /// The server is temporarily unable to respond: 408, 429 or 5xx.
    #[error("{host}: HTTP {status}{}", busy(*status, *retry_after))]
    Busy {
        /// Host of the server.
        host: String,
        /// Status code.
        status: u16,
        /// Value of `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The proxy failed to connect to the server.
    #[error("{host}: {cause}")]
    Proxy {
        /// Host of the server.
        host: String,
        /// Error text of the proxy.
        cause: String,
    },
    /// The proxy refuses the connection permanently: a 4xx status.
    #[error("{host}: the proxy responded with HTTP {status}{}", busy(*status, None))]
    ProxyRefused {
        /// Host of the server.
        host: String,
        /// Status code; 407 if the proxy requires a user and a password.
        status: u16,
    },
    /// The server's certificate is not accepted.
    #[error("{host}: {cause}")]
    Certificate {
        /// Host of the server.
        host: String,
        /// Reason.
        cause: String,
    },
    /// The body is longer than the caller accepts.
    #[error("{host}: response is longer than {cap} bytes")]
    TooLong {
        /// Host of the server.
        host: String,
        /// Maximum number of bytes accepted.
        cap: u64,
    },
    /// The response is not valid HTTP, or a truncated body could not be detected.
    #[error("{host}: {what}")]
    Protocol {
        /// Host of the server.
        host: String,
        /// Description of the response.
        what: String,
    },
    /// All attempts failed.
    #[error("{last}, after {attempts} attempts")]
    GaveUp {
        /// Number of attempts since the last progress.
        attempts: u32,
        /// Error of the last attempt.
        last: Box<Error>,
    },
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Certificate { cause, .. } if cause.contains("not valid yet") => ErrorCode::Clock,
            Self::Config(..) | Self::Certificate { .. } | Self::ProxyRefused { status: 407, .. } => ErrorCode::Config,
            Self::ProxyRefused { .. } => ErrorCode::NotPermitted,
            Self::TooLong { .. } | Self::Protocol { .. } => ErrorCode::Protocol,
            Self::Proxy { .. } => ErrorCode::Unavailable,
            Self::GaveUp { last, .. } => last.code(),
            _ => ErrorCode::Temporary,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_, hint) => hint.map(str::to_owned),
            Self::Refused { .. } => Some("check the address, and that the server is running".to_owned()),
            Self::NoSuchHost { .. } => Some("check the host name, and the network and DNS of this machine".to_owned()),
            Self::Certificate { cause, .. } if cause.contains("UnknownIssuer") => {
                Some("name the certificate authority with --ca-file".to_owned())
            }
            Self::Certificate { cause, .. } if cause.contains("not valid yet") => {
                Some("set the clock of this machine, then try again".to_owned())
            }
            Self::Certificate { cause, .. } if cause.contains("xpired") => {
                Some("check the clock of this machine".to_owned())
            }
            Self::Certificate { cause, .. } if cause.contains("alert") => {
                Some("the server asks for a client certificate: --client-cert-file and --client-key-file".to_owned())
            }
            Self::ProxyRefused { status: 407, .. } => {
                Some("set the user and password of the proxy: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT".to_owned())
            }
            Self::ProxyRefused { .. } => Some("allow the server on the proxy, or list it in NO_PROXY".to_owned()),
            Self::GaveUp { last, .. } => last.hint(),
            _ => None,
        }
    }
}

impl Error {
    /// Returns true if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::NoSuchHost { .. }
                | Self::TimedOut { .. }
                | Self::Broken { .. }
                | Self::Short { .. }
                | Self::Busy { .. }
                | Self::Proxy { .. }
        )
    }

    /// Returns the error of the last attempt if all attempts failed, otherwise the
    /// error itself.
    pub fn cause(&self) -> &Self {
        match self {
            Self::GaveUp { last, .. } => last.cause(),
            other => other,
        }
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::Config(text.into(), None)
    }
}

/// Returns the reason phrase of a status, and the requested wait, if any.
fn busy(status: u16, retry_after: Option<Duration>) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.map_or(String::new(), |reason| format!(", {}", reason.to_lowercase()));
    let asked = retry_after.filter(|wait| !wait.is_zero());
    reason + &asked.map_or(String::new(), |wait| format!("; it asks to wait {} s", wait.as_secs()))
}
