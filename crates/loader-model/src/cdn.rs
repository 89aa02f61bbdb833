//! The credentials of the CDN, as `cdn.yaml` and as CDN JSON.

use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Where the big parts are and how to get at them. The same fields stand in
/// `cdn.yaml` and in the JSON that `az-cdn-creds` prints. Wiped on drop.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct CdnCredentials {
    /// Endpoint: a host, with `https://` in front if no scheme stands there.
    pub host: String,
    /// Access key id that may read.
    pub downloader_access_key: String,
    /// Secret of the key that may read.
    pub downloader_access_secret: String,
    /// Access key id that may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_access_key: Option<String>,
    /// Secret of the key that may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_access_secret: Option<String>,
    /// Bucket; the first folder of the object's name where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Region for the signature; `us-east-1` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// True where the bucket stands in the path, not in the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

impl CdnCredentials {
    /// The same without the keys that may write.
    pub fn without_uploader(mut self) -> Self {
        self.uploader_access_key.zeroize();
        self.uploader_access_secret.zeroize();
        self.uploader_access_key = None;
        self.uploader_access_secret = None;
        self
    }
}

impl fmt::Debug for CdnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdnCredentials").field("host", &self.host).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
