//! Object bodies read in large blocks. s3s-fs reads only 4096 bytes for each switch to
//! another thread.

use s3s::dto::{GetObjectOutput, Range, StreamingBlob, Timestamp};
use std::io::SeekFrom;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Number of bytes read at a time. Each client uses two such blocks.
const BLOCK_LEN: usize = 64 * 1024;

/// File of an object, opened before the response is created.
pub(crate) struct ObjectBody {
    file: File,
    len: u64,
    modified: Timestamp,
}

impl ObjectBody {
    /// Opens the file at `path`. Returns `None` if it is not a regular file.
    pub(crate) async fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).await.ok()?;
        let metadata = file.metadata().await.ok().filter(|metadata| metadata.is_file())?;
        Some(Self { len: metadata.len(), modified: metadata.modified().ok()?.into(), file })
    }

    /// Replaces the body of a response for `range`. Leaves the response unchanged if the
    /// object was replaced after it was opened.
    pub(crate) async fn replace_body(mut self, range: Option<Range>, output: &mut GetObjectOutput) -> Option<()> {
        let asked = range.map_or(Ok(0..self.len), |range| range.check(self.len)).ok()?;
        let same = output.last_modified.as_ref() == Some(&self.modified)
            && output.content_length == i64::try_from(asked.end - asked.start).ok();
        if same {
            self.file.seek(SeekFrom::Start(asked.start)).await.ok()?;
            let bytes = self.file.take(asked.end - asked.start);
            output.body = Some(StreamingBlob::wrap(ReaderStream::with_capacity(bytes, BLOCK_LEN)));
        }
        Some(())
    }
}
