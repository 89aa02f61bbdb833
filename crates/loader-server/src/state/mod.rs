//! The state directory: plain files, each written atomically. The directory is the only
//! authority: a server reads it for each request, so that it sees changes of other processes,
//! and several servers can share it.
//!
//! | path | content |
//! | --- | --- |
//! | `server.json` | [`ServerSettings`](crate::ServerSettings), optional |
//! | `users/<email>` | [`UserRecord`] as JSON |
//! | `fragments/all`, `fragments/users/<email>` | the server's fragment, for all users and for one |
//! | `sealed/<email>` | the fragment, sealed to the user's password and hardware |
//! | `cdn/<role>` | credentials of the CDN as YAML |
//! | `keys/<kid>` | a signing key as JSON |
//! | `resources/<folder>/<name>` | files that the API seals and delivers |
//! | `incoming/` | incomplete uploads |
//! | `lock` | locked while an administrator changes the directory |

mod cdn;
mod check;
mod files;
mod fragments;
mod keys;
mod users;

pub(crate) use cdn::CDN_RESOURCE;
pub use check::Finding;
pub(crate) use files::{give_to_owner_of, sync_dir};
pub(crate) use fragments::SealedFragment;
pub use keys::SigningKeyInfo;
pub(crate) use keys::{SigningKey, VerifyingKeys};
pub(crate) use users::{Account, hex_bytes, valid_email};
pub use users::{NewUser, UserRecord};

use crate::ServerSettings;
use loader_model::{Coded, ErrorCode, printable};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Subdirectories of the state directory.
const DIRS: [&str; 8] = ["users", "fragments", "fragments/users", "sealed", "cdn", "keys", "resources", "incoming"];

/// Reason why the state cannot be read or changed. No variant quotes a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file or directory cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A file has unexpected content.
    #[error("{0}: {1}")]
    Malformed(PathBuf, &'static str),
    /// The directory is not a state directory.
    #[error("{0}: not a state directory of az-server")]
    NotAState(PathBuf),
    /// There is no such user.
    #[error("no user {0}")]
    NoUser(String),
    /// The user exists with other properties.
    #[error("user {0} exists already with another {1}")]
    UserExists(String, &'static str),
    /// A value is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The kernel returned no random bytes, or a hash could not be computed.
    #[error("no random bytes or no memory for a password hash")]
    Crypto,
}

impl Coded for StateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Io(_, error) if error.kind() == ErrorKind::NotFound => ErrorCode::NotFound,
            Self::Io(..) => ErrorCode::Io,
            Self::Malformed(..) | Self::Invalid(_) => ErrorCode::Malformed,
            Self::NotAState(_) => ErrorCode::Config,
            Self::NoUser(_) => ErrorCode::NotFound,
            Self::UserExists(..) => ErrorCode::CannotCreate,
            Self::Crypto => ErrorCode::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotAState(_) => "az-server user add creates one in an empty or new directory",
            Self::UserExists(..) => "use az-server user passwd or az-server user role to change a user",
            Self::Malformed(..) => "az-server check lists everything that is wrong",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Opens an existing state directory.
    ///
    /// # Errors
    /// [`StateError::NotAState`] if `root` has no directory `users`.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StateError> {
        let root = root.into();
        if root.join("users").is_dir() { Ok(Self { root }) } else { Err(StateError::NotAState(root)) }
    }

    /// Opens a state directory, or creates one, with mode 0700, if `root` does not exist or is
    /// empty.
    ///
    /// # Errors
    /// [`StateError::NotAState`] if `root` contains something else; [`StateError::Io`].
    pub fn open_or_create(root: impl Into<PathBuf>) -> Result<Self, StateError> {
        let root = root.into();
        let failed = |error| StateError::Io(root.clone(), error);
        DirBuilder::new().mode(0o700).recursive(true).create(&root).map_err(failed)?;
        let mut names =
            fs::read_dir(&root).map_err(failed)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // A process that was killed here has created some of the directories.
        if !root.join("users").is_dir()
            && names.any(|name| name != "lock" && name != "server.json" && !DIRS.contains(&name.as_str()))
        {
            return Err(StateError::NotAState(root));
        }
        // The directory that marks a state is created last.
        for dir in DIRS.iter().rev() {
            let path = root.join(dir);
            let created = DirBuilder::new().mode(0o700).recursive(true).create(&path);
            let owned = created.and_then(|()| files::give_to_owner_of(&root, &File::open(&path)?));
            owned.map_err(|error| StateError::Io(path, error))?;
        }
        Ok(Self { root })
    }

    /// Returns the path of the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of the resources.
    pub fn resources(&self) -> PathBuf {
        self.root.join("resources")
    }

    /// Returns the directory of incomplete uploads, on the same filesystem.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Reads `server.json`. Returns the defaults if it does not exist.
    ///
    /// # Errors
    /// [`StateError::Malformed`] if it is not the expected JSON.
    pub fn settings(&self) -> Result<ServerSettings, StateError> {
        let path = self.root.join("server.json");
        let Some(json) = files::read(&path, files::SMALL_MAX)? else { return Ok(ServerSettings::default()) };
        let settings: ServerSettings =
            serde_json::from_slice(&json).map_err(|_| StateError::Malformed(path.clone(), "not the expected JSON"))?;
        if !settings.argon2.is_bounded() {
            return Err(StateError::Malformed(path, "argon2: at most 256 MiB, 10 passes and 16 lanes"));
        }
        Ok(settings)
    }

    /// Writes `server.json`.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn set_settings(&self, settings: &ServerSettings) -> Result<(), StateError> {
        files::replace(&self.root.join("server.json"), &files::json(settings))
    }

    /// Waits until no other administrator changes the directory. The lock is released when the
    /// value is dropped, or when the process ends.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.root.join("lock");
        let failed = |error| StateError::Io(path.clone(), error);
        let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        files::give_to_owner_of(&self.root, &file).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(StateLock { _file: file })
    }
}

/// Exclusive right to change a state directory.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Returns an error for a value that was typed.
fn invalid(what: &str, value: &str) -> StateError {
    StateError::Invalid(format!("{}: not {what}", printable(value)))
}
