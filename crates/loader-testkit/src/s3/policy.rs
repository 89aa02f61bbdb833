//! What each access key may do.

use loader_model::CdnCredentials;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};

/// The operations of a key that may only read.
const READS: [&str; 7] =
    ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket", "GetBucketLocation", "ListBuckets"];

/// One key may do everything that the store knows, every other key may read. A
/// key of an object that could leave its bucket's folder is refused to both. Temporary
/// keys need their token, signed.
pub(crate) struct Policy {
    cdn: CdnCredentials,
}

/// The token of temporary keys.
const TOKEN: &str = "x-amz-security-token";

impl Policy {
    /// The policy under which the uploader of `cdn` may write.
    pub(crate) fn new(cdn: CdnCredentials) -> Self {
        Self { cdn }
    }
}

#[async_trait::async_trait]
impl S3Access for Policy {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "a signature is needed"));
        };
        if cx.s3_path().as_object().is_some_and(|(_, key)| key.split('/').any(|part| matches!(part, "" | "." | ".."))) {
            return Err(s3_error!(InvalidArgument, "the key is not a relative path"));
        }
        let uploads = self.cdn.uploader_access_key.as_ref() == Some(&credentials.access_key);
        let token = if uploads { self.cdn.uploader_token() } else { self.cdn.downloader_token() };
        let header = |name: &str| cx.headers().get(name).and_then(|value| value.to_str().ok());
        let signed = header("authorization").is_some_and(|text| text.contains(TOKEN));
        if token != header(TOKEN) || (token.is_some() && !signed) {
            return Err(s3_error!(InvalidToken, "the token is not that of the key"));
        }
        if uploads || READS.contains(&cx.s3_op().name()) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "this access key may only read"))
    }
}
