//! Errors of an engine.

use loader_model::{Coded, ErrorCode};
use std::io;

/// Reason why a request to the engine failed. Each text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `DOCKER_HOST` has a scheme that is not supported.
    #[error("DOCKER_HOST is {host}: only unix:// sockets are supported")]
    Host {
        /// Value of `DOCKER_HOST`.
        host: String,
    },
    /// No process listens on the socket.
    #[error("no container engine at {socket}")]
    NotThere {
        /// The socket.
        socket: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// This user may not use the socket.
    #[error("{socket}: this user is not permitted to use the container engine")]
    NotPermitted {
        /// The socket.
        socket: String,
    },
    /// The engine closed the connection early.
    #[error("the container engine closed the connection {when}")]
    Gone {
        /// The moment, as an adverbial clause.
        when: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The engine neither reads nor writes.
    #[error("the container engine did not respond for {minutes} minutes {when}")]
    Silent {
        /// Duration of the silence.
        minutes: u64,
        /// The moment, as an adverbial clause.
        when: &'static str,
    },
    /// The engine's disk is full.
    #[error("the container engine has no space left: {0}")]
    Full(String),
    /// The engine reported an error while it loaded.
    #[error("the container engine refused: {0}")]
    Refused(String),
    /// The engine responded with an error status.
    #[error("the container engine refused: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its explanation.
        message: String,
    },
    /// The engine's response violates its protocol.
    #[error("the container engine violated its protocol: {0}")]
    Protocol(String),
    /// The command that receives the archive failed.
    #[error("{name}: {why}")]
    Program {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// The command that receives the archive cannot be started.
    #[error("{name}: cannot be started")]
    NoProgram {
        /// Its name.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Host { .. } => ErrorCode::Config,
            Self::NotThere { .. } | Self::Gone { .. } | Self::NoProgram { .. } => ErrorCode::Unavailable,
            Self::NotPermitted { .. } => ErrorCode::NotPermitted,
            Self::Silent { .. } => ErrorCode::Temporary,
            Self::Full(_) => ErrorCode::Io,
            Self::Refused(_) | Self::Status { .. } | Self::Protocol(_) | Self::Program { .. } => ErrorCode::Protocol,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Host { .. } => "unset DOCKER_HOST, or use --command 'docker load' with it",
            Self::NotThere { .. } => "is docker or podman.socket running? DOCKER_HOST names another socket",
            Self::NotPermitted { .. } => "run as root or as a member of the group that owns the socket",
            Self::Full(_) => "free some space under the engine's directory: docker system df",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Error {
    /// Classifies an error message of the engine.
    pub(crate) fn from_message(message: &str) -> Self {
        let message = message.trim().replace('\n', " ");
        match message.contains("no space left") || message.contains("disk quota exceeded") {
            true => Self::Full(message),
            false => Self::Refused(message),
        }
    }
}
