//! Objects from the seed.

use super::ObjectStore;
use super::store::internal_request;
use crate::seed::{self, SeedError};
use s3s::S3;
use s3s::dto::{PutObjectInput, StreamingBlob};
use std::path::Path;
use tokio_util::io::ReaderStream;

/// Number of bytes read at a time.
const BUFFER_LEN: usize = 256 * 1024;

impl ObjectStore {
    /// Copies every file below `dir` into `bucket`, with its relative path as key.
    pub(crate) async fn seed(&self, bucket: &str, dir: &Path) -> Result<(), SeedError> {
        for (name, path) in seed::files(dir)? {
            let file = tokio::fs::File::open(&path).await.map_err(|error| SeedError::Io(path.clone(), error))?;
            let input = PutObjectInput {
                bucket: bucket.to_owned(),
                key: name.into(),
                body: Some(StreamingBlob::wrap(ReaderStream::with_capacity(file, BUFFER_LEN))),
                ..PutObjectInput::default()
            };
            self.put_object(internal_request(input))
                .await
                .map_err(|error| SeedError::Object(path, error.to_string()))?;
        }
        Ok(())
    }
}
