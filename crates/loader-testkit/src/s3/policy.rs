//! What each access key may do.

use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};

/// The operations of a key that may only read.
const READS: [&str; 7] =
    ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket", "GetBucketLocation", "ListBuckets"];

/// One key may do everything that the store knows, every other key may read. A
/// key of an object that could leave its bucket's folder is refused to both.
pub(crate) struct Policy {
    uploader: Option<String>,
}

impl Policy {
    /// The policy under which `uploader` may write.
    pub(crate) fn new(uploader: Option<String>) -> Self {
        Self { uploader }
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
        if self.uploader.as_ref() == Some(&credentials.access_key) || READS.contains(&cx.s3_op().name()) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "this access key may only read"))
    }
}
