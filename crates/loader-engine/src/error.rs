//! Every way an engine can fail.

use loader_model::ErrorCode;
use std::io;

/// Why the engine did not do what it was asked for. The texts are one line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `DOCKER_HOST` is nothing that this version speaks.
    #[error("DOCKER_HOST is {host}: only unix:// sockets are spoken to")]
    Host {
        /// What it is.
        host: String,
    },
    /// Nobody listens.
    #[error("no container engine at {socket}")]
    NotThere {
        /// The socket.
        socket: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket is not for this user.
    #[error("{socket}: this user may not speak to the container engine")]
    NotPermitted {
        /// The socket.
        socket: String,
    },
    /// The engine went away in the middle.
    #[error("the container engine went away {when}")]
    Gone {
        /// When it did.
        when: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The engine neither takes nor gives a byte any more.
    #[error("the container engine was silent for {minutes} minutes {when}")]
    Silent {
        /// How long.
        minutes: u64,
        /// When it was.
        when: &'static str,
    },
    /// The engine's disk is full.
    #[error("the container engine has no space left: {0}")]
    Full(String),
    /// The engine said no.
    #[error("the container engine refused: {0}")]
    Refused(String),
    /// The engine answered a request with an error status.
    #[error("the container engine refused: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its explanation.
        message: String,
    },
    /// The engine answered something that is not its protocol.
    #[error("the container engine answered outside its protocol: {0}")]
    Protocol(String),
    /// The program that stands for an engine failed.
    #[error("{name}: {why}")]
    Program {
        /// Its name.
        name: String,
        /// What happened.
        why: String,
    },
    /// The program that stands for an engine cannot be started.
    #[error("{name}: cannot be started")]
    NoProgram {
        /// Its name.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The class of the failure, which picks the exit status.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Host { .. } => ErrorCode::Config,
            Self::NotThere { .. } | Self::Gone { .. } | Self::NoProgram { .. } => ErrorCode::Unavailable,
            Self::NotPermitted { .. } => ErrorCode::NotPermitted,
            Self::Silent { .. } => ErrorCode::Temporary,
            Self::Full(_) => ErrorCode::Io,
            Self::Refused(_) | Self::Status { .. } | Self::Protocol(_) | Self::Program { .. } => ErrorCode::Protocol,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Host { .. } => Some("unset DOCKER_HOST, or use --command 'docker load' with it"),
            Self::NotThere { .. } => Some("is docker or podman.socket running? DOCKER_HOST names another socket"),
            Self::NotPermitted { .. } => Some("run as root or as a member of the group that owns the socket"),
            Self::Full(_) => Some("free some space under the engine's directory: docker system df"),
            _ => None,
        }
    }

    /// Classifies an error message of the engine.
    pub(crate) fn from_message(message: &str) -> Self {
        let message = message.trim().replace('\n', " ");
        match message.contains("no space left") || message.contains("disk quota exceeded") {
            true => Self::Full(message),
            false => Self::Refused(message),
        }
    }
}
