//! The progress of an unlock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a stage, or a whole unlock, stands. Exactly these seven values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlockState {
    /// Started, perhaps waiting for input.
    Idle,
    /// Logging in, or working with a token.
    Authenticating,
    /// Fetching a key, a fragment or a resource.
    DownloadingKey,
    /// Opening a sealed stream.
    Decrypting,
    /// Handing images to the engine.
    LoadingImages,
    /// Ended well; final.
    Ready,
    /// Ended badly; final.
    Error,
}

impl UnlockState {
    /// The name on the wire.
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

    /// True for `ready` and `error`, after which a stage says nothing more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Error)
    }
}

impl fmt::Display for UnlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
