//! Errors of API calls.

use loader_model::{Coded, ErrorCode};

/// Error of an API call, with a variant for each case that callers handle differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request failed without a usable response.
    #[error(transparent)]
    Http(#[from] loader_http::Error),
    /// 401 on login: the email or the password is wrong.
    #[error("login refused for {email}")]
    LoginRefused {
        /// Email address of the user.
        email: String,
    },
    /// 403 or 409 on login: the account is locked.
    #[error("account locked: {email}")]
    Locked {
        /// Email address of the user.
        email: String,
    },
    /// 401: the server does not accept this token.
    #[error("HTTP 401, {0}")]
    Unauthorized(String),
    /// 401 while the clock of this machine is wrong, so that the reason is unknown.
    #[error("HTTP 401, {0}")]
    Clock(String),
    /// 403: the role does not have the permission.
    #[error("HTTP 403, role {role} may not {what}")]
    Forbidden {
        /// Role in the token.
        role: String,
        /// Attempted action, such as `read key-fragment`.
        what: String,
    },
    /// 403 for another reason than the role.
    #[error("HTTP 403 for {what}: {why}")]
    Denied {
        /// Name of the requested resource.
        what: String,
        /// Error message of the server.
        why: String,
    },
    /// 409: the user is bound to other hardware.
    #[error("HTTP 409 for {what}: {why}")]
    OtherHardware {
        /// Name of the requested resource.
        what: String,
        /// Error message of the server.
        why: String,
    },
    /// 409 for an upload: an existing resource or directory is in the way.
    #[error("HTTP 409 for {what}: {why}")]
    Conflict {
        /// Name of the uploaded resource.
        what: String,
        /// Error message of the server.
        why: String,
    },
    /// 404: the resource does not exist on the server.
    #[error("{0}: not on the server")]
    NotFound(String),
    /// A response that does not follow the protocol.
    #[error("{call}: {response}")]
    Protocol {
        /// Name of the API call, such as `login`.
        call: String,
        /// Status, content type and the first characters of the response.
        response: String,
    },
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Http(error) => error.code(),
            Self::LoginRefused { .. }
            | Self::Locked { .. }
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Denied { .. } => ErrorCode::NotPermitted,
            Self::Clock(_) => ErrorCode::Clock,
            Self::OtherHardware { .. } => ErrorCode::WrongDevice,
            Self::Conflict { .. } => ErrorCode::CannotCreate,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Protocol { .. } => ErrorCode::Protocol,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::LoginRefused { .. } => Some("check email and password in the credentials".to_owned()),
            Self::Locked { .. } => Some("ask an administrator to unlock the account".to_owned()),
            Self::Unauthorized(_) => Some("log in again, or use --credentials-file".to_owned()),
            Self::Clock(_) => Some("set the clock, then log in again".to_owned()),
            Self::Conflict { .. } => Some("choose another name".to_owned()),
            _ => None,
        }
    }
}
