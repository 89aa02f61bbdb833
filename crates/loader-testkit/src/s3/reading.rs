//! The bytes of an object in large pieces: the file layer reads 4096 at a time,
//! each on a trip to another thread.

use s3s::dto::{GetObjectOutput, Range, StreamingBlob, Timestamp};
use std::io::SeekFrom;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Bytes read at a time; each client holds two such pieces.
const PIECE_LEN: usize = 64 * 1024;

/// An object's file, opened before its answer is made.
pub(crate) struct Opened {
    file: File,
    len: u64,
    modified: Timestamp,
}

impl Opened {
    /// The file at `path`, or `None` where it is none.
    pub(crate) async fn at(path: &Path) -> Option<Self> {
        let file = File::open(path).await.ok()?;
        let metadata = file.metadata().await.ok().filter(|metadata| metadata.is_file())?;
        Some(Self { len: metadata.len(), modified: metadata.modified().ok()?.into(), file })
    }

    /// Puts its own body into an answer for `range`, unless the object was
    /// replaced in between: then the answer is left as it is.
    pub(crate) async fn give_body(mut self, range: Option<Range>, output: &mut GetObjectOutput) -> Option<()> {
        let asked = range.map_or(Ok(0..self.len), |range| range.check(self.len)).ok()?;
        let same = output.last_modified.as_ref() == Some(&self.modified)
            && output.content_length == i64::try_from(asked.end - asked.start).ok();
        if same {
            self.file.seek(SeekFrom::Start(asked.start)).await.ok()?;
            let bytes = self.file.take(asked.end - asked.start);
            output.body = Some(StreamingBlob::wrap(ReaderStream::with_capacity(bytes, PIECE_LEN)));
        }
        Some(())
    }
}
