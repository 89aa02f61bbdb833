//! Errors of the cache and of a transfer of the big part.

use loader_model::{Coded, ErrorCode};
use std::io;

/// Error of a transfer, with one variant for each different reaction of the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed, not the request.
    #[error("CDN {0}")]
    Http(#[from] loader_http::Error),
    /// The credentials or the requested plan cannot be used.
    #[error("{0}")]
    Config(String),
    /// 404: the object or the bucket does not exist.
    #[error("CDN {host}: {key} does not exist ({code})")]
    NotFound {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// The store's own code, such as `NoSuchKey`.
        code: String,
    },
    /// 401 or 403: the keys may not read the object; or 400: their session token has expired or
    /// does not match.
    #[error("CDN {host}: HTTP {status}, {code} for {key}")]
    Forbidden {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// The status.
        status: u16,
        /// The store's own code, such as `AccessDenied`.
        code: String,
    },
    /// 403 RequestTimeTooSkewed: the clocks of this machine and the store differ too much.
    #[error("CDN {host}: the clock of this machine is wrong{server_says}")]
    Clock {
        /// The store.
        host: String,
        /// `; the server's clock shows DATE`, or empty.
        server_says: String,
    },
    /// The bucket is in a different region than the credentials name.
    #[error("CDN {host}: the bucket of {key} is in the region {region}, not in {ours}")]
    Region {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// The region that the store reports.
        region: String,
        /// The region of the credentials.
        ours: String,
    },
    /// The object was replaced while it was being read.
    #[error("CDN {host}: {key} changed while it was read")]
    Changed {
        /// The store.
        host: String,
        /// The object.
        key: String,
    },
    /// 416: the object ends before the requested range.
    #[error("CDN {host}: {key} ends before the requested range")]
    OutOfRange {
        /// The store.
        host: String,
        /// The object.
        key: String,
    },
    /// The response violates the protocol.
    #[error("CDN {host}: {key}: {what}")]
    Protocol {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// Description of the response.
        what: String,
    },
    /// The bytes do not match their receipt.
    #[error("{what}: {cause}")]
    Mismatch {
        /// Name of the part.
        what: String,
        /// Expected and actual size or digest.
        cause: String,
    },
    /// A file of the cache or of the upload state failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The stream to send cannot be read.
    #[error("input: {0}")]
    Input(io::Error),
    /// The output cannot be written.
    #[error("output: {0}")]
    Output(io::Error),
}

impl Coded for Error {
    /// A refused connection is `Unavailable`: the store is down, but the network works.
    fn code(&self) -> ErrorCode {
        match self {
            Self::Http(error) if matches!(error.cause(), loader_http::Error::Refused { .. }) => ErrorCode::Unavailable,
            Self::Http(error) => error.code(),
            Self::Config(_) | Self::Region { .. } => ErrorCode::Config,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Forbidden { .. } => ErrorCode::NotPermitted,
            Self::Clock { .. } => ErrorCode::Clock,
            Self::Changed { .. } => ErrorCode::Changed,
            Self::OutOfRange { .. } | Self::Protocol { .. } => ErrorCode::Protocol,
            Self::Mismatch { .. } => ErrorCode::DigestMismatch,
            Self::Cache(error) => error.code(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ErrorCode::ReaderGone,
            Self::Input(_) | Self::Output(_) => ErrorCode::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Http(error) => return error.hint(),
            Self::Forbidden { .. } => "get fresh CDN credentials with az-cdn-creds",
            Self::Region { region, .. } => {
                return Some(format!("set region: {region} in the CDN credentials, and the host of that region"));
            }
            Self::Clock { .. } => "set the clock, then try again",
            Self::Changed { .. } => "run again to get the new release",
            Self::Mismatch { .. } => {
                "the parts belong to different releases, or the CDN holds a damaged copy; ask the publisher"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Error of a cache or upload-state file. A fetch can continue without the cache.
#[derive(Debug, thiserror::Error)]
#[error("{what} {display_path}: {cause}")]
pub struct CacheError {
    what: &'static str,
    display_path: String,
    cause: io::Error,
}

impl Coded for CacheError {
    /// A locked file is `Temporary`, since the other process will release it.
    fn code(&self) -> ErrorCode {
        match self.cause.kind() {
            io::ErrorKind::ResourceBusy => ErrorCode::Temporary,
            _ => ErrorCode::Io,
        }
    }
}

impl CacheError {
    pub(crate) fn cache(display_path: &str, cause: io::Error) -> Self {
        Self { what: "cache", display_path: display_path.to_owned(), cause }
    }

    /// Creates the error for the state of an upload.
    pub(crate) fn upload_state(display_path: &str, cause: io::Error) -> Self {
        Self { what: "upload state", display_path: display_path.to_owned(), cause }
    }
}
