//! Errors of the hardware id and of enrolment cards.

use crate::SourceChange;
use std::io;

/// Reason why a device has no hardware id. No message contains a serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No strong source has a value that identifies the device.
    #[error("no strong source for a hardware id: {rejected}")]
    NoStrongSource {
        /// The strong sources, as `name (reason)`, separated by commas.
        rejected: String,
    },
    /// A source exists and cannot be read, so the id would depend on the user.
    #[error("{path}: {reason}; the hardware id needs {name}")]
    Unreadable {
        /// Name of the source.
        name: &'static str,
        /// Path of the file.
        path: String,
        /// Why the file cannot be read.
        reason: String,
    },
}

impl Error {
    /// Returns the class of the error, as in the event field `error.code`: always `config`
    /// (exit status 78).
    pub fn code(&self) -> &'static str {
        "config"
    }

    /// Returns one line about what the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoStrongSource { .. } => {
                "az-hwid --explain lists the sources; \
                 or write 64 random hexadecimal digits to a file and pass it with --hwid-file"
            }
            Self::Unreadable { .. } => "run az-hwid once as root, save its output, and pass that file with --hwid-file",
        }
    }
}

/// Reason why an enrolment card cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The document is not a card, or a card of a later version.
    #[error("not an enrolment card of az-hwid")]
    Malformed,
    /// The operating system returned no random bytes.
    #[error("cannot get random bytes from the operating system")]
    Random(#[source] io::Error),
}

impl CardError {
    /// Returns the class of the error: `malformed` or `io`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Random(_) => "io",
        }
    }
}

/// The differences between the hardware and an enrolment card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hardware does not match the enrolment card: {}", listed(.0))]
pub struct HardwareMismatch(pub Vec<SourceChange>);

impl HardwareMismatch {
    /// Returns the class of the error: always `wrong_device` (exit status 79).
    pub fn code(&self) -> &'static str {
        "wrong_device"
    }

    /// Returns one line about what the user can do.
    pub fn hint(&self) -> &'static str {
        "files sealed to the old hardware can no longer be opened; enroll the device again"
    }
}

fn listed(changes: &[SourceChange]) -> String {
    changes.iter().map(SourceChange::to_string).collect::<Vec<_>>().join(", ")
}
