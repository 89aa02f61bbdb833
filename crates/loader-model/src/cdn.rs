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
    /// Token that goes with temporary keys, as AWS STS issues them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// The same for the keys that may write, if it is another; empty if those are not
    /// temporary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_session_token: Option<String>,
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
        self.uploader_session_token.zeroize();
        self.uploader_session_token = None;
        self
    }

    /// The token of the keys that may read, if they are temporary.
    pub fn downloader_token(&self) -> Option<&str> {
        self.session_token.as_deref().filter(|token| !token.is_empty())
    }

    /// The token of the keys that may write, if they are temporary.
    pub fn uploader_token(&self) -> Option<&str> {
        self.uploader_session_token.as_deref().or(self.session_token.as_deref()).filter(|token| !token.is_empty())
    }
}

impl fmt::Debug for CdnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdnCredentials").field("host", &self.host).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
