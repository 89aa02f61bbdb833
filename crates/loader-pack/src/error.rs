//! The error type of the crate.

use loader_model::{Coded, ErrorCode};
use std::io;

/// Reasons to refuse a statement that a newer version can read.
pub(crate) const UNKNOWN_FIELD: &str = "it has a field that this version does not know";
pub(crate) const UNKNOWN_SIGNATURE: &str = "it has a signature that this version does not know";

/// Reason why content could not be packed or unpacked. Offsets are in bytes from the start
/// of the packed content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The packed content ends too early.
    #[error("truncated: the packed content ends at byte {at}, inside {inside}")]
    Truncated {
        /// Offset of the end.
        at: u64,
        /// The incomplete part, such as `frame 3`.
        inside: String,
    },
    /// A frame violates the format, or cannot be decompressed.
    #[error("frame {index} at offset {offset} of the packed content: {what}")]
    Frame {
        /// Number of the frame, from 0.
        index: u64,
        /// Offset of the frame.
        offset: u64,
        /// Description of the defect.
        what: &'static str,
    },
    /// The statement violates the format.
    #[error("the statement at offset {offset} of the packed content: {what}")]
    Statement {
        /// Offset of the statement.
        offset: u64,
        /// Description of the defect.
        what: &'static str,
    },
    /// The content or the seek table does not match the statement.
    #[error("the statement does not match: {0}")]
    Mismatch(Mismatch),
    /// The seek table violates the format, or does not match the frames.
    #[error("the seek table at offset {offset} of the packed content: {what}")]
    SeekTable {
        /// Offset of the seek table.
        offset: u64,
        /// Description of the defect.
        what: &'static str,
    },
    /// There are bytes after the seek table.
    #[error("bytes after the end of the packed content, from offset {offset}")]
    Trailing {
        /// Offset of the first of these bytes.
        offset: u64,
    },
    /// The range is not within the content.
    #[error("range {offset}:{} is outside the content of {content_len} bytes", Number(*len))]
    OutOfRange {
        /// Start of the range in bytes.
        offset: u64,
        /// Length of the range in bytes; `None` for a range up to the end.
        len: Option<u64>,
        /// Length of the content in bytes.
        content_len: u64,
    },
    /// The content has more than [`PIECES_MAX`](crate::PIECES_MAX) pieces.
    #[error("the content is longer than 1 TiB, the limit for packed content")]
    TooLong,
    /// The description is too long for a statement.
    #[error("name, type and images are too long for a statement")]
    DescriptionTooLong,
    /// The signatures do not fit in a statement.
    #[error("the statement: {0}")]
    Signatures(&'static str),
    /// The compressor failed.
    #[error("zstd cannot compress a piece: {0}")]
    Compress(String),
    /// Reading failed.
    #[error("cannot read")]
    Read(#[source] io::Error),
    /// Writing failed.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// Difference between content and statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The length of the content.
    #[error("the content has {actual} bytes, the statement declares {declared}")]
    Len {
        /// Length in the statement, in bytes.
        declared: u64,
        /// Length of the content, in bytes.
        actual: u64,
    },
    /// The digest of a piece.
    #[error("piece {piece} at offset {offset} of the content has another digest")]
    Piece {
        /// Number of the piece, from 0.
        piece: u64,
        /// Its offset in the content, in bytes.
        offset: u64,
    },
    /// The number of pieces.
    #[error("there are {actual} frames, the statement declares {declared} pieces")]
    Pieces {
        /// Number of pieces in the statement.
        declared: u64,
        /// Number of frames.
        actual: u64,
    },
    /// The length of a piece.
    #[error("piece {piece} has {actual} bytes instead of {declared}")]
    PieceLen {
        /// Number of the piece, from 0.
        piece: u64,
        /// Length that follows from the statement, in bytes.
        declared: u64,
        /// Length in the frame, in bytes.
        actual: u64,
    },
    /// The digest of the whole content.
    #[error("the content has another digest")]
    Content,
}

struct Number(Option<u64>);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, "{number}"))
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } => ErrorCode::Truncated,
            Self::Frame { .. } => ErrorCode::FrameInvalid,
            Self::Statement { what, .. } if [UNKNOWN_FIELD, UNKNOWN_SIGNATURE].contains(what) => ErrorCode::Unsupported,
            Self::Statement { .. } => ErrorCode::StatementInvalid,
            Self::Mismatch(Mismatch::Len { .. } | Mismatch::Pieces { .. } | Mismatch::PieceLen { .. }) => {
                ErrorCode::LengthMismatch
            }
            Self::Mismatch(_) => ErrorCode::StatementMismatch,
            Self::SeekTable { .. } => ErrorCode::SeekTableInvalid,
            Self::Trailing { .. } => ErrorCode::Trailing,
            Self::OutOfRange { .. } => ErrorCode::OutOfRange,
            Self::TooLong => ErrorCode::Unsupported,
            Self::DescriptionTooLong | Self::Signatures(_) => ErrorCode::Malformed,
            Self::Read(_) | Self::Write(_) | Self::Compress(_) => ErrorCode::Io,
        }
    }
}
