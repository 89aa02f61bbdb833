//! The states of a stage and of a whole unlock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a stage or of a whole unlock. There are exactly these seven values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlockState {
    /// Started; possibly waiting for input.
    Idle,
    /// Logging in, or using a token.
    Authenticating,
    /// Fetching a key, a fragment or a resource.
    DownloadingKey,
    /// Opening a sealed stream.
    Decrypting,
    /// Loading images into the engine.
    LoadingImages,
    /// Succeeded; final.
    Ready,
    /// Failed; final.
    Error,
}

impl UnlockState {
    /// Returns the name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Authenticating => "authenticating",
            Self::DownloadingKey => "downloading_key",
            Self::Decrypting => "decrypting",
            Self::LoadingImages => "loading_images",
            Self::Ready => "ready",
            Self::Error => "error",
        }
    }

    /// Returns true for `ready` and `error`, the states of the last event of a stage.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Error)
    }
}

impl fmt::Display for UnlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
