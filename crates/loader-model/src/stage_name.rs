//! The names of the programs that write events.

use crate::named::names;

names! {
    /// Program that writes events. The order of the values is that of a pipeline.
    StageName {
        /// Checks whether the device is ready to unlock.
        Doctor = "az-doctor";
        /// Prints the hardware id of the device.
        Hwid = "az-hwid";
        /// Logs in and prints a token.
        Login = "az-login";
        /// Prints the user of a token.
        Whoami = "az-whoami";
        /// Fetches the credentials of the CDN.
        CdnCreds = "az-cdn-creds";
        /// Fetches the key fragment and resources.
        Fetch = "az-fetch";
        /// Splits a key into fragments, or a sealed file into parts.
        Split = "az-split";
        /// Joins fragments to a key, or parts to a sealed file.
        Join = "az-join";
        /// Seals a stream.
        Encrypt = "az-encrypt";
        /// Adds and drops keys of a sealed file.
        Rekey = "az-rekey";
        /// Prints the header of a sealed file.
        Inspect = "az-inspect";
        /// Makes a patch from one release to another.
        Diff = "az-diff";
        /// Applies a patch.
        Patch = "az-patch";
        /// Opens a sealed stream.
        Decrypt = "az-decrypt";
        /// Publishes a sealed file.
        Push = "az-push";
        /// Loads images into the container engine.
        Load = "az-load";
        /// Reads the events of the others; writes an event only if it fails itself.
        Status = "az-status";
        /// Serves the HTTP API; writes an event only if it fails itself.
        Server = "az-server";
    }
}

impl StageName {
    /// Returns true if `name` can be the name of a stage, perhaps of another version: `az-` and 1
    /// to 61 characters of `a-z -`.
    pub fn is_possible(name: &str) -> bool {
        let is_rest =
            |rest: &str| (1..=61).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        name.strip_prefix("az-").is_some_and(is_rest)
    }
}
