//! Errors of the hardware id and of enrolment cards.

use crate::SourceChange;
use loader_model::{Coded, ErrorCode};
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

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoStrongSource { .. } => {
                "az-hwid --explain lists the sources; \
                 or write 64 random hexadecimal digits to a file and pass it with --hwid-file"
            }
            Self::Unreadable { .. } => "run az-hwid once as root, save its output, and pass that file with --hwid-file",
        };
        Some(hint.to_owned())
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

impl Coded for CardError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::Malformed,
            Self::Random(_) => ErrorCode::Io,
        }
    }
}

/// The differences between the hardware and an enrolment card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hardware does not match the enrolment card: {}", listed(.0))]
pub struct HardwareMismatch(pub Vec<SourceChange>);

impl Coded for HardwareMismatch {
    fn code(&self) -> ErrorCode {
        ErrorCode::WrongDevice
    }

    fn hint(&self) -> Option<String> {
        Some("files sealed to the old hardware can no longer be opened; enroll the device again".to_owned())
    }
}

fn listed(changes: &[SourceChange]) -> String {
    changes.iter().map(SourceChange::to_string).collect::<Vec<_>>().join(", ")
}
