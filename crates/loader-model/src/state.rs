//! The states of a stage and of a whole unlock.

use crate::named::names;

names! {
    /// State of a stage or of a whole unlock. There are exactly these seven values.
    UnlockState {
        /// Started; possibly waiting for input.
        Idle = "idle";
        /// Logging in, or using a token.
        Authenticating = "authenticating";
        /// Fetching a key, a fragment or a resource.
        DownloadingKey = "downloading_key";
        /// Opening a sealed stream.
        Decrypting = "decrypting";
        /// Loading images into the engine.
        LoadingImages = "loading_images";
        /// Succeeded; final.
        Ready = "ready";
        /// Failed; final.
        Error = "error";
    }
}

impl UnlockState {
    /// Returns true for `ready` and `error`, the states of the last event of a stage.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Error)
    }
}
