//! Requests of a multipart upload, with retries.

use crate::expected::sha256_hex;
use crate::store::{PUSH_ID, RELEASE, SPLIT_ID, header_text};
use crate::upload_journal::SentPart;
use crate::xml::XmlBody;
use crate::{Error, ObjectStore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loader_http::{BufferedResponse, Error as HttpError, HeaderMap, HeaderName, HeaderValue, Method, Notify, header};
use loader_model::ResourceName;

/// Maximum size of an XML response in bytes: a list of 1000 parts has about 300 KiB.
const XML_MAX: u64 = 4 << 20;

/// Announces, at the start of an upload, that each part has a checksum.
const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");

/// SHA-256 of a part. A bucket with Object Lock requires one (S3 user guide, Object Lock
/// considerations).
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// Maximum number of parts of an upload (S3 user guide, multipart limits).
pub const PARTS_MAX: u32 = 10_000;

/// Minimum length in bytes of each part but the last (S3 user guide, multipart limits).
pub const PART_LEN_MIN: u64 = 5 << 20;

/// Part in the list of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPart {
    /// Number of the part, from 1.
    pub(crate) number: u32,
    /// Size in bytes.
    pub(crate) size: u64,
    /// ETag of the part.
    pub(crate) etag: String,
}

/// Metadata to store with an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectLabels<'a> {
    pub(crate) release: Option<u64>,
    pub(crate) push_id: &'a str,
    pub(crate) split_id: &'a str,
}

/// Upload that is started and not completed.
#[derive(Clone, Debug)]
pub(crate) struct MultipartUpload<'a> {
    pub(crate) store: &'a ObjectStore,
    pub(crate) name: &'a ResourceName,
    pub(crate) id: String,
    /// True if each part is sent with a checksum.
    pub(crate) has_checksums: bool,
}

impl<'a> MultipartUpload<'a> {
    /// Starts an upload of an object with the metadata in `labels`. If the store does not support
    /// checksums, repeats the request without them.
    pub(crate) fn begin(
        store: &'a ObjectStore,
        name: &'a ResourceName,
        labels: ObjectLabels<'_>,
        notify: Notify<'_>,
    ) -> Result<Self, Error> {
        let release = labels.release.map(|release| (RELEASE, HeaderValue::from(release)));
        let mut headers = HeaderMap::from_iter(release);
        for (name, text) in [(PUSH_ID, labels.push_id), (SPLIT_ID, labels.split_id)] {
            headers.extend(HeaderValue::from_str(text).ok().map(|value| (name, value)));
        }
        headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static("SHA256"));
        let mut attempts = store.http.attempts(notify);
        let answer = loop {
            match send(store, name, &S3Operation::new(Method::POST, &[("uploads", "")], b""), &headers) {
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                Err(Error::Protocol { .. }) if headers.remove(CHECKSUM_ALGORITHM).is_some() => {}
                other => break other?,
            }
        };
        let id = XmlBody::read(&answer.body).upload_id;
        if id.is_empty() {
            return Err(store.protocol_error(name, "response to a new upload without an upload id"));
        }
        Ok(Self { store, name, id, has_checksums: headers.contains_key(CHECKSUM_ALGORITHM) })
    }

    /// Sends one part, which the store checks against its SHA-256, and returns the ETag of the
    /// part. `sha256` is the digest of `bytes` in hexadecimal.
    pub(crate) fn put(&self, number: u32, bytes: &[u8], sha256: &str, notify: Notify<'_>) -> Result<String, Error> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", self.id.as_str())];
        let checksum = self.has_checksums.then(|| HeaderValue::from_str(&base64(sha256)).ok()).flatten();
        let headers = HeaderMap::from_iter(checksum.map(|checksum| (CHECKSUM, checksum)));
        let operation = S3Operation { method: Method::PUT, query: &query, body: bytes, sha256: sha256.to_owned() };
        let answer = send_with_retries(self.store, self.name, &operation, &headers, notify)?;
        let etag = header_text(&answer.headers, header::ETAG).map(str::to_owned);
        etag.ok_or_else(|| self.store.protocol_error(self.name, "response to a part without an ETag"))
    }

    /// Lists the parts that the store has, in order.
    pub(crate) fn parts(&self, notify: Notify<'_>) -> Result<Vec<StoredPart>, Error> {
        let (mut parts, mut marker) = (Vec::<StoredPart>::new(), String::new());
        loop {
            let mut query = vec![("uploadId", self.id.as_str())];
            if !marker.is_empty() {
                query.push(("part-number-marker", &marker));
            }
            let operation = S3Operation::new(Method::GET, &query, b"");
            let answer = send_with_retries(self.store, self.name, &operation, &HeaderMap::new(), notify)?;
            let before = parts.len();
            let document = XmlBody::read(&answer.body);
            let stored = |(number, size, etag): (_, _, &str)| StoredPart { number, size, etag: etag.to_owned() };
            parts.extend(document.parts().map(stored));
            match parts.last() {
                Some(last) if document.is_truncated() && parts.len() > before => marker = last.number.to_string(),
                _ => return Ok(parts),
            }
        }
    }

    /// Completes the object from `parts`, which are all of its parts in order, and returns its
    /// ETag. Returns `None` if the upload no longer exists, since an earlier attempt, whose
    /// response was lost, may have completed it. `is_resumed` is true if an earlier run may have
    /// made such an attempt.
    pub(crate) fn complete(
        &self,
        parts: &[SentPart],
        is_resumed: bool,
        notify: Notify<'_>,
    ) -> Result<Option<String>, Error> {
        let body = completion_body(parts, self.has_checksums);
        let mut attempts = self.store.http.attempts(notify);
        let mut is_repeated = is_resumed;
        let query = [("uploadId", self.id.as_str())];
        let operation = S3Operation::new(Method::POST, &query, body.as_bytes());
        loop {
            match send(self.store, self.name, &operation, &HeaderMap::new()) {
                Ok(answer) => {
                    let document = XmlBody::read(&answer.body);
                    if !document.etag.is_empty() {
                        return Ok(Some(document.etag));
                    }
                    if !answer.body.trim_ascii().is_empty() {
                        return Err(self.store.protocol_error(self.name, &late_failure_text(&document)));
                    }
                    // The next attempt shows the outcome.
                    let cause = "the response is empty".to_owned();
                    attempts.wait_for_retry(HttpError::Broken { host: self.store.host(), cause })?;
                }
                Err(Error::NotFound { .. }) if is_repeated => return Ok(None),
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                Err(error) => return Err(error),
            }
            is_repeated = true;
        }
    }

    /// Cancels the upload so that its parts cost nothing. Makes one attempt.
    pub(crate) fn abort(&self) -> Result<(), Error> {
        let query = [("uploadId", self.id.as_str())];
        let operation = S3Operation::new(Method::DELETE, &query, b"");
        send(self.store, self.name, &operation, &HeaderMap::new()).map(drop)
    }
}

/// Request for an object with a query and a body.
struct S3Operation<'q> {
    method: Method,
    query: &'q [(&'q str, &'q str)],
    body: &'q [u8],
    /// SHA-256 of `body` in hexadecimal.
    sha256: String,
}

impl<'q> S3Operation<'q> {
    fn new(method: Method, query: &'q [(&'q str, &'q str)], body: &'q [u8]) -> Self {
        Self { method, query, body, sha256: sha256_hex(body) }
    }
}

fn send_with_retries(
    store: &ObjectStore,
    name: &ResourceName,
    operation: &S3Operation<'_>,
    headers: &HeaderMap,
    notify: Notify<'_>,
) -> Result<BufferedResponse, Error> {
    let mut attempts = store.http.attempts(notify);
    loop {
        match send(store, name, operation, headers) {
            Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
            other => return other,
        }
    }
}

/// Makes one attempt, signed with the current time. Returns an error unless the status is 2xx and
/// the body does not report a temporary failure.
fn send(
    store: &ObjectStore,
    name: &ResourceName,
    operation: &S3Operation<'_>,
    headers: &HeaderMap,
) -> Result<BufferedResponse, Error> {
    let S3Operation { method, query, body, sha256 } = operation;
    let location = store.signer.location(name)?;
    let mut call = store.signer.sign_query(&location, method.clone(), query, sha256, headers.clone())?;
    if *method != Method::GET && *method != Method::DELETE {
        call = call.body(body);
    }
    let mut response = store.http.open_ready(&call)?;
    if !(200..300).contains(&response.status) {
        return Err(store.refusal_error(name, response));
    }
    let body = response.body.read_capped(XML_MAX)?;
    // A store may send status 200 first and report a later failure in the body.
    if let Some(status) = XmlBody::read(&body).late_status() {
        return Err(HttpError::Busy { host: store.host(), status, retry_after: None }.into());
    }
    Ok(BufferedResponse { status: response.status, headers: response.headers, body })
}

fn late_failure_text(document: &XmlBody) -> String {
    let texts: Vec<_> = document.error_texts().collect();
    if texts.is_empty() { "upload completed without an ETag".to_owned() } else { texts.join(", ") }
}

/// Converts a SHA-256 from hexadecimal to base64.
fn base64(sha256: &str) -> String {
    STANDARD.encode(hex::decode(sha256).unwrap_or_default())
}

fn completion_body(parts: &[SentPart], has_checksums: bool) -> String {
    let mut body = "<CompleteMultipartUpload>".to_owned();
    for SentPart { number, etag, sha256, .. } in parts {
        let etag = quick_xml::escape::partial_escape(etag.as_str());
        body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"));
        if has_checksums {
            body.push_str(&format!("<ChecksumSHA256>{}</ChecksumSHA256>", base64(sha256)));
        }
        body.push_str("</Part>");
    }
    body + "</CompleteMultipartUpload>"
}

/// Returns true if the store does not know the upload.
pub(crate) fn is_missing_upload(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_body_contains_checksums_of_parts() {
        let (number, size, sha256, etag) = (1, 5, sha256_hex(b"abc"), "\"a&b\"".to_owned());
        let parts = [SentPart { number, size, sha256, etag }];
        let body = completion_body(&parts, true);
        assert!(body.contains("<PartNumber>1</PartNumber><ETag>\"a&amp;b\"</ETag>"), "{body}");
        // Digest of "abc": FIPS 180-2 appendix B.1.
        let checksum = "<ChecksumSHA256>ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=</ChecksumSHA256></Part>";
        assert!(body.contains(checksum), "{body}");
        assert!(!completion_body(&parts, false).contains("Checksum"));
    }
}
