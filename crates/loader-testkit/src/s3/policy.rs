//! Permissions of the access keys.

use loader_model::CdnCredentials;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};

/// Operations of a read-only key.
const READS: [&str; 7] =
    ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket", "GetBucketLocation", "ListBuckets"];

/// Access policy: the uploader may use every operation, other keys may only read. Object
/// keys that could leave the directory of the bucket are refused. Temporary access keys
/// require their session token, which must be signed.
pub(crate) struct Policy {
    cdn: CdnCredentials,
}

/// Header with the session token of temporary keys.
const TOKEN: &str = "x-amz-security-token";

impl Policy {
    /// Creates a policy that allows writes for the uploader in `cdn`.
    pub(crate) fn new(cdn: CdnCredentials) -> Self {
        Self { cdn }
    }
}

#[async_trait::async_trait]
impl S3Access for Policy {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "a signature is required"));
        };
        if cx.s3_path().as_object().is_some_and(|(_, key)| key.split('/').any(|part| matches!(part, "" | "." | ".."))) {
            return Err(s3_error!(InvalidArgument, "the key is not a relative path"));
        }
        let uploads = self.cdn.uploader_access_key.as_ref() == Some(&credentials.access_key);
        let token = if uploads { self.cdn.uploader_token() } else { self.cdn.downloader_token() };
        let header = |name: &str| cx.headers().get(name).and_then(|value| value.to_str().ok());
        let signed = header("authorization").is_some_and(|text| text.contains(TOKEN));
        if token != header(TOKEN) || (token.is_some() && !signed) {
            return Err(s3_error!(InvalidToken, "the token does not match the key"));
        }
        if uploads || READS.contains(&cx.s3_op().name()) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "this access key may only read"))
    }
}
