//! Credentials for the CDN, as `cdn.yaml` and as CDN JSON.

use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Address of the CDN, which stores the big parts, and the keys to access it. `cdn.yaml` and
/// the JSON that `az-cdn-creds` prints have the same fields. Zeroized on drop.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct CdnCredentials {
    /// Endpoint: a host or a URL. A host without a scheme is accessed with `https://`.
    pub host: String,
    /// Id of the access key with read permission.
    pub downloader_access_key: String,
    /// Secret of the access key with read permission.
    pub downloader_access_secret: String,
    /// Id of the access key with write permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_access_key: Option<String>,
    /// Secret of the access key with write permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_access_secret: Option<String>,
    /// Session token of temporary keys, as issued by AWS STS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// Session token of the keys with write permission, if it differs from `session_token`;
    /// empty if those keys are not temporary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader_session_token: Option<String>,
    /// Bucket; if absent, the first component of the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Region for the signature; `us-east-1` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// True if the bucket is part of the path and not of the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

impl CdnCredentials {
    /// Removes the keys with write permission.
    pub fn without_uploader(mut self) -> Self {
        self.uploader_access_key.zeroize();
        self.uploader_access_secret.zeroize();
        self.uploader_access_key = None;
        self.uploader_access_secret = None;
        self.uploader_session_token.zeroize();
        self.uploader_session_token = None;
        self
    }

    /// Returns the session token of the keys with read permission, if they are temporary.
    pub fn downloader_token(&self) -> Option<&str> {
        self.session_token.as_deref().filter(|token| !token.is_empty())
    }

    /// Returns the session token of the keys with write permission, if they are temporary.
    pub fn uploader_token(&self) -> Option<&str> {
        self.uploader_session_token.as_deref().or(self.session_token.as_deref()).filter(|token| !token.is_empty())
    }
}

impl fmt::Debug for CdnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdnCredentials").field("host", &self.host).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
