//! Every way the format can refuse its input.

use crate::FragmentError;
use crate::device::DeviceMismatch;
use crate::key::KeyId;
use std::fmt;
use std::io;

/// Why something could not be sealed, opened, split or joined. A variant for
/// each thing a caller does differently; [`Error::code`] names the class. No
/// message holds a secret, nor a line of the input.
///
/// The text of [`Error::Read`], [`Error::Write`] and [`Error::Random`] is the
/// place alone; the cause is their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not begin with the magic.
    #[error("not a sealed stream: {looks_like}")]
    NotSealed {
        /// What it looks like instead, for a person.
        looks_like: &'static str,
    },
    /// The input needs something that this version does not know.
    #[error("not supported by this version: {0}")]
    Unsupported(String),
    /// None of the keys held has a slot.
    #[error("wrong key: held {}, the file has slots for {}", KeyIds(held), KeyIds(slots))]
    WrongKey {
        /// The keys that were offered.
        held: Vec<KeyId>,
        /// The keys that the header has slots for.
        slots: Vec<KeyId>,
    },
    /// The header does not match its MAC.
    #[error("the header fails its check: it was altered or damaged")]
    HeaderTampered,
    /// The input ends too early.
    #[error("truncated: the input ends at byte {at}, inside {inside}")]
    Truncated {
        /// Bytes that were there.
        at: u64,
        /// What is not complete: `the header`, `segment 3`.
        inside: String,
    },
    /// A segment fails its check.
    #[error("segment {segment} at offset {offset} fails its check")]
    Corrupt {
        /// Number of the segment, from 0.
        segment: u64,
        /// Where it begins, in bytes from the magic.
        offset: u64,
    },
    /// There are bytes after the end of the stream.
    #[error("bytes after the end of the stream, from offset {offset}")]
    Trailing {
        /// Where the first of them stands, in bytes from the magic.
        offset: u64,
    },
    /// The plaintext is not as long as the header says.
    #[error("the header declares {declared} bytes of plaintext, the stream has {actual}")]
    LengthMismatch {
        /// Bytes of plaintext that the header declares.
        declared: u64,
        /// Bytes of plaintext that the stream has.
        actual: u64,
    },
    /// The range asked for lies outside the plaintext.
    #[error("range {offset}:{} lies outside the plaintext of {plaintext_len} bytes", len.map_or(String::new(), |len| len.to_string()))]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for; `None` for the rest.
        len: Option<u64>,
        /// Bytes that there are.
        plaintext_len: u64,
    },
    /// Sealed to someone or something else.
    #[error(transparent)]
    WrongDevice(#[from] DeviceMismatch),
    /// A line or a value that no writer of this format makes. The text is fixed,
    /// so it cannot echo a secret.
    #[error("{}{what}", Line(*line))]
    Malformed {
        /// Number of the line in its document, from 1, where there is one.
        line: Option<usize>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The fragments do not give the key.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Reading the input failed.
    #[error("reading the input")]
    Read(#[source] io::Error),
    /// Writing the output failed.
    #[error("writing the output")]
    Write(#[source] io::Error),
    /// The operating system gave no memory for the password hash.
    #[error("no memory for the password hash, {kib} KiB")]
    Memory {
        /// What it needs.
        kib: u32,
    },
    /// The operating system gave no random bytes.
    #[error("asking the operating system for random bytes")]
    Random(#[source] io::Error),
}

impl Error {
    /// The class of the error, as in the event's `error.code` (pipeline: exit
    /// status).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSealed { .. } => "not_sealed",
            Self::Unsupported(_) => "unsupported",
            Self::WrongKey { .. } => "wrong_key",
            Self::HeaderTampered => "header_tampered",
            Self::Truncated { .. } => "truncated",
            Self::Corrupt { .. } => "corrupt",
            Self::Trailing { .. } => "trailing",
            Self::LengthMismatch { .. } => "length_mismatch",
            Self::OutOfRange { .. } => "out_of_range",
            Self::WrongDevice(_) => "wrong_device",
            Self::Malformed { .. } => "malformed",
            Self::Fragment(_) => "wrong_fragment",
            Self::Read(_) | Self::Write(_) | Self::Memory { .. } | Self::Random(_) => "io",
        }
    }

    /// True where there was not a single byte: a writer that failed looks so.
    pub fn is_empty_input(&self) -> bool {
        matches!(self, Self::NotSealed { looks_like } if *looks_like == crate::header::EMPTY)
    }

    /// [`Error::Malformed`] without a line number.
    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::Malformed { line: None, what }
    }

    /// The same error with the number of the line it was found in, where it is
    /// one that has a place for it.
    pub(crate) fn at_line(self, number: usize) -> Self {
        match self {
            Self::Malformed { what, .. } => Self::Malformed { line: Some(number), what },
            Self::Unsupported(what) => Self::Unsupported(format!("{what} in line {number}")),
            other => other,
        }
    }
}

/// Key ids in a message: all of a few, the first of many.
struct KeyIds<'a>(&'a [KeyId]);

/// Key ids shown before the rest are only counted, so that a header with a
/// thousand slots makes no message of forty kilobytes.
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

/// `line 3: ` in front of a message, or nothing.
struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, "line {number}: "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_place_and_cause() {
        let id = |b| KeyId::from_bytes([b; 16]);
        let error = Error::Corrupt { segment: 70, offset: 73_400_384 };
        assert_eq!(error.to_string(), "segment 70 at offset 73400384 fails its check");
        let error = Error::WrongKey { held: vec![], slots: vec![id(1)] };
        assert_eq!(error.to_string(), format!("wrong key: held none, the file has slots for {}", id(1)));
        let error = Error::malformed("no key line");
        assert_eq!(error.to_string(), "no key line");
        assert_eq!(error.at_line(3).to_string(), "line 3: no key line");
    }

    #[test]
    fn many_slots_make_a_short_message() {
        let slots: Vec<_> = (0..200).map(|b| KeyId::from_bytes([b; 16])).collect();
        let text = Error::WrongKey { held: vec![slots[0]], slots }.to_string();
        assert!(text.len() < 400 && text.ends_with(" and 196 more"), "{text}");
    }
}
