//! Why the big part did not come, or not as promised.

use crate::CacheError;
use loader_model::ErrorCode;
use std::io;

/// A failed read, one variant for each thing a caller would do differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection, not the answer, is at fault.
    #[error("CDN {0}")]
    Http(#[from] loader_http::Error),
    /// The credentials cannot be used.
    #[error("{0}")]
    Config(String),
    /// 404: no such object or bucket.
    #[error("CDN {host}: {key} does not exist ({code})")]
    NotFound {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// The store's own code, such as `NoSuchKey`.
        code: String,
    },
    /// 401 or 403: the keys may not read the object; or 400: their token has expired or
    /// is another one.
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
    /// 403 RequestTimeTooSkewed: the two clocks differ too much.
    #[error("CDN {host}: the clock of this machine is wrong{server_says}")]
    Clock {
        /// The store.
        host: String,
        /// `; there it is DATE`, or empty.
        server_says: String,
    },
    /// The bucket is in another region than the credentials name.
    #[error("CDN {host}: the bucket of {key} is in the region {region}, not in {ours}")]
    Region {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// The region that the store names.
        region: String,
        /// The region of the credentials.
        ours: String,
    },
    /// The object was replaced while it was read.
    #[error("CDN {host}: {key} changed while it was read")]
    Changed {
        /// The store.
        host: String,
        /// The object.
        key: String,
    },
    /// 416: the object ends before the range.
    #[error("CDN {host}: {key} ends before the range that was asked for")]
    OutOfRange {
        /// The store.
        host: String,
        /// The object.
        key: String,
    },
    /// An answer outside the protocol, and what it looked like.
    #[error("CDN {host}: {key}: {what}")]
    Protocol {
        /// The store.
        host: String,
        /// The object.
        key: String,
        /// What was seen.
        what: String,
    },
    /// The bytes are not those that were promised.
    #[error("{what}: {cause}")]
    Mismatch {
        /// Which bytes.
        what: String,
        /// Size or digest, wanted and found.
        cause: String,
    },
    /// The cache failed in the middle of an entry.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The stream to send cannot be read.
    #[error("input: {0}")]
    Source(io::Error),
    /// The sink did not take the bytes.
    #[error("output: {0}")]
    Sink(io::Error),
}

impl Error {
    /// The class of the failure. A store that refuses the connection is a
    /// service that is not there, not a network that failed.
    pub fn code(&self) -> ErrorCode {
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
            Self::Sink(error) if error.kind() == io::ErrorKind::BrokenPipe => ErrorCode::ReaderGone,
            Self::Source(_) | Self::Sink(_) => ErrorCode::Io,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
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
