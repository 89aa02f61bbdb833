//! Why an archive is refused.

use loader_model::{Coded, ErrorCode};
use std::fmt::Display;
use std::io;

/// Why an archive is refused. Each text is one line and names the member or the
/// byte.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input has no bytes.
    #[error("no archive: the input is empty")]
    Empty,
    /// The input is no archive of images.
    #[error("not an archive of images: {looks_like}")]
    NotArchive {
        /// What it looks like instead.
        looks_like: &'static str,
    },
    /// The whole input is compressed in a way that is not supported.
    #[error("the archive is compressed with {program}, which is not supported")]
    Compressed {
        /// Name of the program that decompresses it.
        program: &'static str,
    },
    /// The input ends before the end of the archive.
    #[error("the archive ends at byte {at}, inside {inside}")]
    Truncated {
        /// Number of bytes that were read.
        at: u64,
        /// The part that is incomplete.
        inside: String,
    },
    /// A header block is damaged.
    #[error("the header at byte {at} is damaged: {why}")]
    Header {
        /// Offset of the header.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The archive is followed by other bytes.
    #[error("the archive is followed by other bytes at byte {at}")]
    Trailing {
        /// Offset of the first such byte.
        at: u64,
    },
    /// The archive uses something that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// A member is malformed, or contradicts another one.
    #[error("{member}: {why}")]
    Malformed {
        /// Name of the member.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive does not contain something that an image needs.
    #[error("{image}: {what} is not in the archive")]
    Missing {
        /// Name or id of the image.
        image: String,
        /// The member or the digest.
        what: String,
    },
    /// The content of a member does not have the expected digest.
    #[error("{member}: its SHA-256 is {actual}, expected {expected}")]
    Digest {
        /// Name of the member.
        member: String,
        /// The expected digest, `sha256:` and 64 digits.
        expected: String,
        /// The digest of the content.
        actual: String,
    },
    /// The archive is complete, but it is not the expected one.
    #[error("{0}")]
    Unexpected(String),
    /// No image in the archive is for the wanted platform.
    #[error("{image}: no image for {wanted}; the archive has {available}")]
    Platform {
        /// Name or id of the image.
        image: String,
        /// The wanted platform.
        wanted: String,
        /// The platforms in the archive.
        available: String,
    },
    /// Reading failed.
    #[error("{0}")]
    Read(#[source] io::Error),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Empty => ErrorCode::NoInput,
            Self::Truncated { .. } => ErrorCode::Truncated,
            Self::Header { .. } => ErrorCode::Corrupt,
            Self::Trailing { .. } => ErrorCode::Trailing,
            Self::Compressed { .. } | Self::Unsupported(_) | Self::Platform { .. } => ErrorCode::Unsupported,
            Self::NotArchive { .. } | Self::Malformed { .. } | Self::Missing { .. } => ErrorCode::Malformed,
            Self::Digest { .. } | Self::Unexpected(_) => ErrorCode::DigestMismatch,
            Self::Read(_) => ErrorCode::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Compressed { program: "xz" } => "put xz -dc before it",
            Self::Compressed { program: "bzip2" } => "put bzip2 -dc before it",
            Self::Truncated { .. } => "copy or fetch the archive again",
            Self::Platform { .. } => "select one of them with --platform",
            Self::Unsupported(text) if text.contains("sparse") => "repack it with GNU tar without --sparse",
            Self::Unsupported(text) if text.contains("digests") => {
                "convert it with skopeo copy, which writes sha256 digests"
            }
            Self::Unsupported(text) if text.contains("compressed with") => {
                "convert it with skopeo copy --dest-compress-format gzip"
            }
            Self::Unsupported(text) if text.contains("before 1.10") => "load it into Docker and save it again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Error {
    pub(crate) fn malformed(member: &str, why: impl Display) -> Self {
        Self::Malformed { member: member.to_owned(), why: why.to_string() }
    }
}
