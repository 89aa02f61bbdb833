//! Why there is no hardware id, and why a card cannot be used.

use crate::Change;
use std::io;

/// Why a device has no hardware id. No message holds a serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No source that stays with the hardware can be used.
    #[error("no strong source for a hardware id: {rejected}")]
    NoStrongSource {
        /// What was there instead, `name: reason` with commas between.
        rejected: String,
    },
    /// A source is there and cannot be read, so that the id would depend on who asks.
    #[error("{place}: {why}, and the hardware id needs {name}")]
    Unreadable {
        /// Name of the source.
        name: &'static str,
        /// The file.
        place: String,
        /// The system's reason.
        why: String,
    },
}

impl Error {
    /// The class of the error, as in the event's `error.code`: always `config`
    /// (exit status 78).
    pub fn code(&self) -> &'static str {
        "config"
    }

    /// What can be done about it, in one line.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoStrongSource { .. } => {
                "az-hwid --explain lists the sources; or write 64 random hexadecimal digits to a file and name it by --hwid-file"
            }
            Self::Unreadable { .. } => {
                "run az-hwid once as root, keep its line in a file, and name that by --hwid-file"
            }
        }
    }
}

/// Why an enrolment card cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// It is not a card, or one of a later version.
    #[error("not an enrolment card of az-hwid")]
    Malformed,
    /// The operating system gave no random bytes.
    #[error("asking the operating system for random bytes")]
    Random(#[source] io::Error),
}

impl CardError {
    /// The class of the error: `malformed` or `io`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Random(_) => "io",
        }
    }
}

/// The device is not the one of an enrolment card: what differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("other hardware than on the card: {}", listed(.0))]
pub struct OtherHardware(pub Vec<Change>);

impl OtherHardware {
    /// The class of the error: always `wrong_device` (exit status 79).
    pub fn code(&self) -> &'static str {
        "wrong_device"
    }

    /// What can be done about it, in one line.
    pub fn hint(&self) -> &'static str {
        "what was sealed to this device does not open any more; enroll it again"
    }
}

fn listed(changes: &[Change]) -> String {
    changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", ")
}
