//! The error type of the crate.

use loader_model::{Coded, ErrorCode};
use loader_pack::ReleaseId;
use std::io;

/// Reason why a patch cannot be read, applied or written. Offsets are in bytes from the start of
/// the patch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not begin like a patch.
    #[error("it is not a patch")]
    NotPatch,
    /// The patch has another version.
    #[error("version {0} of patches is not supported")]
    Version(u8),
    /// The patch ends too early.
    #[error("truncated: the patch ends at byte {at}, inside {inside}")]
    Truncated {
        /// Offset of the end.
        at: u64,
        /// The incomplete part.
        inside: &'static str,
    },
    /// The patch violates the format.
    #[error("the patch is invalid at byte {at}: {what}")]
    Invalid {
        /// Offset after the last byte that was read.
        at: u64,
        /// Description of the defect.
        what: &'static str,
    },
    /// The statement in the patch violates the format.
    #[error("the statement in the patch: {0}")]
    Statement(#[source] loader_pack::Error),
    /// The patch is for another release.
    #[error("the patch is for release {expected}, this is release {actual}")]
    Mismatch {
        /// Release that the patch is for.
        expected: Box<ReleaseId>,
        /// Release of the old content.
        actual: Box<ReleaseId>,
    },
    /// There are bytes after the end of the patch.
    #[error("bytes after the end of the patch, from offset {at}")]
    Trailing {
        /// Offset of the first of these bytes.
        at: u64,
    },
    /// The compressor failed.
    #[error("zstd cannot compress a part of the patch")]
    Compress,
    /// The old content cannot be read.
    #[error("cannot read the old content")]
    Old(#[source] io::Error),
    /// The new content cannot be read, to make a patch.
    #[error("cannot read the new content")]
    New(#[source] io::Error),
    /// The patch cannot be read.
    #[error("cannot read the patch")]
    Read(#[source] io::Error),
    /// The patch cannot be written.
    #[error("cannot write the patch")]
    Write(#[source] io::Error),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotPatch | Self::Invalid { .. } => ErrorCode::PatchInvalid,
            Self::Version(_) => ErrorCode::Unsupported,
            Self::Truncated { .. } => ErrorCode::Truncated,
            Self::Statement(error) => error.code(),
            Self::Mismatch { .. } => ErrorCode::PatchMismatch,
            Self::Trailing { .. } => ErrorCode::Trailing,
            Self::Compress | Self::Old(_) | Self::New(_) | Self::Read(_) | Self::Write(_) => ErrorCode::Io,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

impl Error {
    /// Returns the error that [`NewContent`](crate::NewContent) has put into `error`.
    ///
    /// # Errors
    /// `error` itself, if there is none.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }
}
