//! Why the API did not give what was asked for.

use loader_model::ErrorCode;

/// A failed call, one variant for each thing a caller would do differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection, not the answer, is at fault.
    #[error(transparent)]
    Http(#[from] loader_http::Error),
    /// 401 on login: the pair of email and password is wrong.
    #[error("login refused for {email}")]
    LoginRefused {
        /// Who tried.
        email: String,
    },
    /// 403 or 409 on login: the account is locked.
    #[error("account locked: {email}")]
    Locked {
        /// Who tried.
        email: String,
    },
    /// 401: the server does not take this token.
    #[error("HTTP 401, {0}")]
    Unauthorized(String),
    /// 401, and the clock of this machine is suspect, so that the reason cannot be told.
    #[error("HTTP 401, {0}")]
    Clock(String),
    /// 403: the role is too low.
    #[error("HTTP 403, role {role} may not {what}")]
    Forbidden {
        /// The role in the token.
        role: String,
        /// What was tried, such as `read key-fragment`.
        what: String,
    },
    /// 403 for another reason than the role, in the server's words.
    #[error("HTTP 403 for {what}: {why}")]
    Denied {
        /// What was asked for.
        what: String,
        /// The server's message.
        why: String,
    },
    /// 409: the user belongs to other hardware.
    #[error("HTTP 409 for {what}: {why}")]
    OtherHardware {
        /// What was asked for.
        what: String,
        /// The server's message.
        why: String,
    },
    /// 409 to an upload: what is there does not give way.
    #[error("HTTP 409 for {what}: {why}")]
    Taken {
        /// What was sent.
        what: String,
        /// The server's message.
        why: String,
    },
    /// 404: there is no such thing on the server.
    #[error("{0}: not on the server")]
    NotFound(String),
    /// An answer outside the protocol, and what it looked like.
    #[error("{call}: {seen}")]
    Protocol {
        /// The call, such as `login`.
        call: String,
        /// Status, content type and the first characters.
        seen: String,
    },
}

impl Error {
    /// The class of the failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Http(error) => error.code(),
            Self::LoginRefused { .. }
            | Self::Locked { .. }
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Denied { .. } => ErrorCode::NotPermitted,
            Self::Clock(_) => ErrorCode::Clock,
            Self::OtherHardware { .. } => ErrorCode::WrongDevice,
            Self::Taken { .. } => ErrorCode::CannotCreate,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Protocol { .. } => ErrorCode::Protocol,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::LoginRefused { .. } => Some("check email and password in the credentials".to_owned()),
            Self::Locked { .. } => Some("ask an administrator to unlock the account".to_owned()),
            Self::Unauthorized(_) => Some("log in again, or name --credentials-file".to_owned()),
            Self::Clock(_) => Some("set the clock, then log in again".to_owned()),
            Self::Taken { .. } => Some("choose another name".to_owned()),
            _ => None,
        }
    }
}
