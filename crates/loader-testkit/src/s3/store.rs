//! S3 store on a directory. Adds to s3s-fs: conditional reads, reads in large blocks, and
//! the state of multipart uploads.

use super::condition::{Conditions, Validators, range_applies};
use super::object_body::ObjectBody;
use super::uploads::Uploads;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::io;
use std::path::{Path, PathBuf};

type S3Outcome<T> = S3Result<S3Response<T>>;

/// Directory of buckets.
pub(crate) struct ObjectStore {
    fs: FileSystem,
    root: PathBuf,
    uploads: Uploads,
    /// Held while an upload is completed: s3s-fs does not do that atomically.
    completing: tokio::sync::Mutex<()>,
}

impl ObjectStore {
    /// Opens the store in `root`, which must exist.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let fs = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Self { fs, root: root.to_owned(), uploads: Uploads::default(), completing: tokio::sync::Mutex::default() })
    }

    /// Returns the validators and the length of an object in bytes.
    async fn validators(&self, bucket: &str, key: &str) -> S3Result<(Validators, i64)> {
        if self.root.join(bucket).join(key).is_dir() {
            return Err(s3_error!(NoSuchKey));
        }
        let input = HeadObjectInput { bucket: bucket.to_owned(), key: key.to_owned(), ..HeadObjectInput::default() };
        let head = self.fs.head_object(internal_request(input)).await?.output;
        let etag = head.e_tag.ok_or_else(|| s3_error!(InternalError))?;
        Ok((Validators { etag, modified: head.last_modified }, head.content_length.unwrap_or_default()))
    }
}

#[async_trait::async_trait]
impl S3 for ObjectStore {
    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Outcome<GetObjectOutput> {
        let path = self.root.join(&req.input.bucket).join(&req.input.key);
        let body = ObjectBody::open(&path).await;
        let (validators, len) = self.validators(&req.input.bucket, &req.input.key).await?;
        Conditions::from(&req.input).check(&validators)?;
        if !range_applies(&req.headers, &validators) {
            req.input.range = None;
        }
        if let Some(range) = req.input.range {
            range.check(len.unsigned_abs()).map_err(|_| out_of_range(len))?;
        }
        let range = req.input.range;
        let mut response = self.fs.get_object(req).await?;
        if let Some(body) = body {
            body.replace_body(range, &mut response.output).await;
        }
        Ok(response)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Outcome<HeadObjectOutput> {
        let (validators, _) = self.validators(&req.input.bucket, &req.input.key).await?;
        Conditions::from(&req.input).check(&validators)?;
        self.fs.head_object(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Outcome<CreateMultipartUploadOutput> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let response = self.fs.create_multipart_upload(req).await?;
        self.uploads.insert(response.output.upload_id.as_deref().unwrap_or_default(), &bucket, &key);
        Ok(response)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Outcome<UploadPartOutput> {
        let input = &req.input;
        let (id, number) = (input.upload_id.clone(), input.part_number);
        self.uploads.check_part(&id, &input.bucket, &input.key, number)?;
        let listing = ListPartsInput {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload_id: id.clone(),
            ..ListPartsInput::default()
        };
        let response = self.fs.upload_part(req).await?;
        let listed = self.fs.list_parts(internal_request(listing)).await?.output.parts.unwrap_or_default();
        let size = listed.iter().find(|part| part.part_number == Some(number)).and_then(|part| part.size);
        self.uploads.add(&id, number, response.output.e_tag.clone(), size);
        Ok(response)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Outcome<ListPartsOutput> {
        let ListPartsInput { bucket, key, upload_id, part_number_marker, max_parts, .. } = req.input;
        let (parts, more) = self.uploads.parts(&upload_id, (&bucket, &key), part_number_marker, max_parts)?;
        let next_part_number_marker = parts.last().filter(|_| more).and_then(|part| part.part_number);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(upload_id),
            part_number_marker,
            next_part_number_marker,
            max_parts,
            is_truncated: Some(more),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Outcome<ListMultipartUploadsOutput> {
        let ListMultipartUploadsInput { bucket, prefix, .. } = req.input;
        let start = prefix.clone().unwrap_or_default();
        let uploads = self.uploads.lock();
        let open = uploads.iter().filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(&start));
        let mut uploads: Vec<_> = open
            .map(|(id, upload)| MultipartUpload {
                upload_id: Some(id.clone()),
                key: Some(upload.key.clone()),
                initiated: Some(upload.initiated.clone()),
                ..MultipartUpload::default()
            })
            .collect();
        uploads.sort_by(|a, b| (&a.key, &a.initiated).cmp(&(&b.key, &b.initiated)));
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(bucket),
            prefix,
            is_truncated: Some(false),
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Outcome<CompleteMultipartUploadOutput> {
        let _guard = self.completing.lock().await;
        let (id, input) = (req.input.upload_id.clone(), &req.input);
        let listed = input.multipart_upload.as_ref().and_then(|list| list.parts.as_deref()).unwrap_or_default();
        self.uploads.check_complete(&id, &input.bucket, &input.key, listed)?;
        let response = self.fs.complete_multipart_upload(req).await?;
        self.uploads.remove(&id);
        Ok(response)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Outcome<AbortMultipartUploadOutput> {
        let id = req.input.upload_id.clone();
        self.uploads.check(&id, &req.input.bucket, &req.input.key)?;
        self.uploads.remove(&id);
        self.fs.abort_multipart_upload(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Outcome<PutObjectOutput> {
        self.fs.put_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Outcome<DeleteObjectOutput> {
        self.fs.delete_object(req).await
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Outcome<DeleteObjectsOutput> {
        self.fs.delete_objects(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Outcome<ListObjectsOutput> {
        self.fs.list_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Outcome<ListObjectsV2Output> {
        self.fs.list_objects_v2(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Outcome<HeadBucketOutput> {
        self.fs.head_bucket(req).await
    }

    async fn get_bucket_location(&self, req: S3Request<GetBucketLocationInput>) -> S3Outcome<GetBucketLocationOutput> {
        self.fs.get_bucket_location(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Outcome<ListBucketsOutput> {
        self.fs.list_buckets(req).await
    }
}

/// Returns a request of the server to its own store.
pub(crate) fn internal_request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Method::GET,
        uri: Uri::default(),
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// Returns 416 with the length in bytes (RFC 9110 section 14.4).
fn out_of_range(len: i64) -> S3Error {
    let mut error = s3_error!(InvalidRange);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
        error.set_headers(HeaderMap::from_iter([(header::CONTENT_RANGE, value)]));
    }
    error
}
