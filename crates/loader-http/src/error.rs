//! What can go wrong between this machine and a server.

use loader_model::ErrorCode;
use std::time::Duration;
use ureq::http::StatusCode;

/// Why a request has no usable answer. `host` is `host` or `host:port`, with
/// ` by proxy host:port` where one is on the way; no text holds a path, a query
/// string or a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used; the second text says how to mend it.
    #[error("{0}")]
    Config(String, Option<&'static str>),
    /// Nobody listens there.
    #[error("{host}: connection refused")]
    Refused {
        /// The server.
        host: String,
    },
    /// The name does not resolve.
    #[error("{host}: name does not resolve")]
    NoSuchHost {
        /// The server.
        host: String,
    },
    /// A wait was too long.
    #[error("{host}: {what}")]
    TimedOut {
        /// The server.
        host: String,
        /// Which wait, such as `no byte for 30 s`.
        what: String,
    },
    /// The connection broke.
    #[error("{host}: connection broke: {cause}")]
    Broken {
        /// The server.
        host: String,
        /// What the system says.
        cause: String,
    },
    /// The body ended early.
    #[error("{host}: body ended after {got} of {expected} bytes")]
    Short {
        /// The server.
        host: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The server asks to come back later: 408, 429 or 5xx.
    #[error("{host}: HTTP {status}{}", busy(*status, *retry_after))]
    Busy {
        /// The server.
        host: String,
        /// The status.
        status: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// The proxy does not let the connection through.
    #[error("{host}: {cause}")]
    Proxy {
        /// The server behind the proxy.
        host: String,
        /// What the proxy said.
        cause: String,
    },
    /// The proxy refuses the connection, and will refuse it again: a status of 4xx.
    #[error("{host}: the proxy answers HTTP {status}{}", busy(*status, None))]
    ProxyRefused {
        /// The server behind the proxy.
        host: String,
        /// The status; 407 if the proxy asks for a user and a password.
        status: u16,
    },
    /// The server's certificate is not accepted.
    #[error("{host}: {cause}")]
    Certificate {
        /// The server.
        host: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The body is longer than the caller accepts.
    #[error("{host}: answer is longer than {cap} bytes")]
    TooLong {
        /// The server.
        host: String,
        /// Most bytes that are accepted.
        cap: u64,
    },
    /// What came is not HTTP, or not HTTP that can be trusted to be whole.
    #[error("{host}: {what}")]
    Protocol {
        /// The server.
        host: String,
        /// What was seen.
        what: String,
    },
    /// All attempts were used up.
    #[error("{last}, after {attempts} attempts")]
    GaveUp {
        /// How many were made since the last progress.
        attempts: u32,
        /// How the last one ended.
        last: Box<Error>,
    },
}

impl Error {
    /// The class of the failure.
    pub fn code(&self) -> ErrorCode {
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

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_, hint) => hint.map(str::to_owned),
            Self::Refused { .. } => {
                Some("nothing listens there: is the address right, does the server run?".to_owned())
            }
            Self::NoSuchHost { .. } => Some("is the name right, does this machine have a network and DNS?".to_owned()),
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
                Some("name the user and password of the proxy: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT".to_owned())
            }
            Self::ProxyRefused { .. } => {
                Some("ask for the server to be allowed on the proxy, or name it in NO_PROXY".to_owned())
            }
            Self::GaveUp { last, .. } => last.hint(),
            _ => None,
        }
    }

    /// True where the same request may end better a little later.
    pub fn is_passing(&self) -> bool {
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

    /// The error itself, or the last one where all attempts were used up.
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

/// The reason phrase of a status, and the wait if the server asks for one.
fn busy(status: u16, retry_after: Option<Duration>) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.map_or(String::new(), |reason| format!(", {}", reason.to_lowercase()));
    let asked = retry_after.filter(|wait| !wait.is_zero());
    reason + &asked.map_or(String::new(), |wait| format!("; it asks to wait {} s", wait.as_secs()))
}
