//! Every way an archive can be wrong.

use std::io;

/// Why an archive is not what it should be. The texts are one line each and name
/// the member or the byte.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was not a single byte.
    #[error("no archive: the input is empty")]
    Empty,
    /// The input is no tar.
    #[error("not an archive of images: {looks_like}")]
    NotArchive {
        /// What it looks like instead.
        looks_like: &'static str,
    },
    /// The input is packed in a way that cannot be looked into.
    #[error("the archive is packed with {coding}, which cannot be checked on the way")]
    Packed {
        /// Name of the program that unpacks it.
        coding: &'static str,
    },
    /// The input ends before the end of the archive.
    #[error("the archive ends at byte {at}, inside {inside}")]
    Truncated {
        /// Bytes that were there.
        at: u64,
        /// What was cut.
        inside: String,
    },
    /// A header does not have its checksum, or says something impossible.
    #[error("the header at byte {at} is damaged: {why}")]
    Header {
        /// Offset of the header.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There are bytes after the end of the archive.
    #[error("there is something after the end of the archive, at byte {at}")]
    Trailing {
        /// Offset of the first such byte.
        at: u64,
    },
    /// The archive uses something that this version does not read.
    #[error("{0}")]
    Unsupported(String),
    /// A document inside cannot be read, or contradicts another one.
    #[error("{member}: {why}")]
    Malformed {
        /// Name of the member.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that an image needs is not there.
    #[error("{image}: {what} is not in the archive")]
    Missing {
        /// Name or id of the image.
        image: String,
        /// The member or the digest.
        what: String,
    },
    /// A member does not have the digest that it is named by.
    #[error("{member}: its SHA-256 is {actual}, promised was {promised}")]
    Digest {
        /// Name of the member.
        member: String,
        /// What was promised, `sha256:` and 64 digits.
        promised: String,
        /// What was seen.
        actual: String,
    },
    /// The archive is whole, but does not hold what was expected.
    #[error("{0}")]
    Unexpected(String),
    /// Reading failed.
    #[error("{0}")]
    Read(#[source] io::Error),
}

impl Error {
    /// The name of the class, as event lines call it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "no_input",
            Self::Truncated { .. } => "truncated",
            Self::Header { .. } => "corrupt",
            Self::Trailing { .. } => "trailing",
            Self::Packed { .. } | Self::Unsupported(_) => "unsupported",
            Self::NotArchive { .. } | Self::Malformed { .. } | Self::Missing { .. } => "malformed",
            Self::Digest { .. } | Self::Unexpected(_) => "digest_mismatch",
            Self::Read(_) => "io",
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Packed { coding: "zstd" } => Some("put zstd -dc in front"),
            Self::Packed { coding: "xz" } => Some("put xz -dc in front"),
            Self::Packed { coding: "bzip2" } => Some("put bzip2 -dc in front"),
            Self::NotArchive { .. } => Some("it takes what docker save and podman save write, after az-decrypt"),
            Self::Truncated { .. } | Self::Header { .. } | Self::Digest { .. } => {
                Some("copy the archive again, or save it again with docker save")
            }
            _ => None,
        }
    }

    pub(crate) fn malformed(member: &str, why: impl ToString) -> Self {
        Self::Malformed { member: member.to_owned(), why: why.to_string() }
    }
}
