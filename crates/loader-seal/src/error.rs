//! The error type of the crate.

use crate::FragmentError;
use crate::device::DeviceMismatch;
use crate::key::KeyId;
use loader_model::{Coded, ErrorCode};
use std::fmt;
use std::io;

/// Reason why something could not be sealed, opened, split or joined. There is a
/// variant for each case that callers handle differently; [`Error::code`] returns
/// the class. No message contains a secret or text from the input.
///
/// The messages of [`Error::Read`], [`Error::Write`] and [`Error::Random`] name only
/// the operation; the cause is their [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not begin with the magic.
    #[error("not a sealed stream: {looks_like}")]
    NotSealed {
        /// Description of the likely file type, for people.
        looks_like: &'static str,
    },
    /// The input uses a feature that this version does not know.
    #[error("not supported by this version: {0}")]
    Unsupported(String),
    /// The header has no slot for any of the given keys.
    #[error("wrong key: held {}, the file has slots for {}", KeyIds(held), KeyIds(slots))]
    WrongKey {
        /// Ids of the given keys.
        held: Vec<KeyId>,
        /// Ids of the keys that the header has slots for.
        slots: Vec<KeyId>,
    },
    /// The header does not match its MAC.
    #[error("the header fails its check: it was altered or damaged")]
    HeaderTampered,
    /// The input ends too early.
    #[error("truncated: the input ends at byte {at}, inside {inside}")]
    Truncated {
        /// Offset of the end of the input in bytes from the magic.
        at: u64,
        /// Name of the incomplete part, such as `the header` or `segment 3`.
        inside: String,
    },
    /// A segment fails its check.
    #[error("segment {segment} at offset {offset} fails its check")]
    Corrupt {
        /// Number of the segment, from 0.
        segment: u64,
        /// Offset of the segment in bytes from the magic.
        offset: u64,
    },
    /// There are bytes after the end of the stream.
    #[error("bytes after the end of the stream, from offset {offset}")]
    Trailing {
        /// Offset of the first of these bytes, from the magic.
        offset: u64,
    },
    /// The plaintext is not as long as the header says.
    #[error("the header declares {declared} bytes of plaintext, the stream has {actual}")]
    LengthMismatch {
        /// Length of the plaintext in bytes according to the header.
        declared: u64,
        /// Length of the plaintext in bytes.
        actual: u64,
    },
    /// The requested range is outside the plaintext.
    #[error("range {offset}:{} lies outside the plaintext of {plaintext_len} bytes", len.map_or(String::new(), |len| len.to_string()))]
    OutOfRange {
        /// Offset of the first requested byte.
        offset: u64,
        /// Number of requested bytes; `None` for all bytes up to the end.
        len: Option<u64>,
        /// Length of the plaintext in bytes.
        plaintext_len: u64,
    },
    /// The input is sealed to another user or device.
    #[error(transparent)]
    WrongDevice(#[from] DeviceMismatch),
    /// A line or a value is not valid. The text is fixed, so that it cannot contain a
    /// secret.
    #[error("{}{what}", LinePrefix(*line))]
    Malformed {
        /// Number of the line in its document, from 1, if there is one.
        line: Option<usize>,
        /// Description of the fault.
        what: &'static str,
    },
    /// The key cannot be joined from the fragments.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Reading the input failed.
    #[error("reading the input")]
    Read(#[source] io::Error),
    /// Writing the output failed.
    #[error("writing the output")]
    Write(#[source] io::Error),
    /// There is not enough memory for the password hash.
    #[error("not enough memory for the password hash, which needs {kib} KiB")]
    Memory {
        /// Required memory in KiB.
        kib: u32,
    },
    /// The operating system returned no random bytes.
    #[error("reading random bytes from the operating system")]
    Random(#[source] io::Error),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotSealed { .. } => ErrorCode::NotSealed,
            Self::Unsupported(_) => ErrorCode::Unsupported,
            Self::WrongKey { .. } => ErrorCode::WrongKey,
            Self::HeaderTampered => ErrorCode::HeaderTampered,
            Self::Truncated { .. } => ErrorCode::Truncated,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::Trailing { .. } => ErrorCode::Trailing,
            Self::LengthMismatch { .. } => ErrorCode::LengthMismatch,
            Self::OutOfRange { .. } => ErrorCode::OutOfRange,
            Self::WrongDevice(_) => ErrorCode::WrongDevice,
            Self::Malformed { .. } => ErrorCode::Malformed,
            Self::Fragment(_) => ErrorCode::WrongFragment,
            Self::Read(_) | Self::Write(_) | Self::Memory { .. } | Self::Random(_) => ErrorCode::Io,
        }
    }
}

impl Error {
    /// Returns true if the input was empty, which usually means that its writer failed.
    pub fn is_empty_input(&self) -> bool {
        matches!(self, Self::NotSealed { looks_like } if *looks_like == crate::header::EMPTY)
    }

    /// Returns [`Error::Malformed`] without a line number.
    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::Malformed { line: None, what }
    }

    /// Adds the number of the line that caused the error, if the variant has room for it.
    pub(crate) fn with_line(self, number: usize) -> Self {
        match self {
            Self::Malformed { what, .. } => Self::Malformed { line: Some(number), what },
            Self::Unsupported(what) => Self::Unsupported(format!("{what} in line {number}")),
            other => other,
        }
    }
}

/// Formats the first [`KEY_IDS_SHOWN`] key ids and the number of the others.
struct KeyIds<'a>(&'a [KeyId]);

/// Maximum number of key ids in a message, because a header can have a thousand
/// slots.
const KEY_IDS_SHOWN: usize = 4;

impl fmt::Display for KeyIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, id) in self.0.iter().take(KEY_IDS_SHOWN).enumerate() {
            write!(f, "{}{id}", if i == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(KEY_IDS_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Formats `line 3: `, or nothing if there is no number.
struct LinePrefix(Option<usize>);

impl fmt::Display for LinePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, "line {number}: "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_contain_location_and_cause() {
        let id = |b| KeyId::from_bytes([b; 16]);
        let error = Error::Corrupt { segment: 70, offset: 73_400_384 };
        assert_eq!(error.to_string(), "segment 70 at offset 73400384 fails its check");
        let error = Error::WrongKey { held: vec![], slots: vec![id(1)] };
        assert_eq!(error.to_string(), format!("wrong key: held none, the file has slots for {}", id(1)));
        let error = Error::malformed("no key line");
        assert_eq!(error.to_string(), "no key line");
        assert_eq!(error.with_line(3).to_string(), "line 3: no key line");
    }

    #[test]
    fn message_for_many_slots_is_short() {
        let slots: Vec<_> = (0..200).map(|b| KeyId::from_bytes([b; 16])).collect();
        let text = Error::WrongKey { held: vec![slots[0]], slots }.to_string();
        assert!(text.len() < 400 && text.ends_with(" and 196 more"), "{text}");
    }
}
