//! Objects that are there from the start.

use super::Store;
use super::store::from_inside;
use crate::seed::{self, SeedError};
use s3s::S3;
use s3s::dto::{PutObjectInput, StreamingBlob};
use std::path::Path;
use tokio_util::io::ReaderStream;

/// Bytes read from a file at a time.
const BUFFER_LEN: usize = 256 * 1024;

impl Store {
    /// Puts every file below `dir` into `bucket` under its relative name.
    pub(crate) async fn seed(&self, bucket: &str, dir: &Path) -> Result<(), SeedError> {
        for (name, path) in seed::files(dir)? {
            let file = tokio::fs::File::open(&path).await.map_err(|error| SeedError::Io(path.clone(), error))?;
            let input = PutObjectInput {
                bucket: bucket.to_owned(),
                key: name.into(),
                body: Some(StreamingBlob::wrap(ReaderStream::with_capacity(file, BUFFER_LEN))),
                ..PutObjectInput::default()
            };
            self.put_object(from_inside(input)).await.map_err(|error| SeedError::Object(path, error.to_string()))?;
        }
        Ok(())
    }
}
