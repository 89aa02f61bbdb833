//! The requests of a multipart upload, each with its repetitions.

use crate::expected::{sha256_hex, unhex};
use crate::journal::SentPart;
use crate::store::{CUT, PUSH, RELEASE, value};
use crate::xml::Document;
use crate::{Error, Store};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loader_http::{
    Attempts, BufferedResponse, Error as HttpError, HeaderMap, HeaderName, HeaderValue, Method, Notify, header,
};
use loader_model::ResourceName;

/// Most bytes of an XML answer: a list of 1000 parts is some 300 KiB.
const XML_MAX: u64 = 4 << 20;

/// Says at the start of an upload that each part comes with a checksum.
const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");

/// SHA-256 of a part. A bucket with Object Lock takes no part without one (S3 user guide,
/// Object Lock considerations).
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// Most parts of an upload (S3 user guide, multipart limits).
pub const PARTS_MAX: u32 = 10_000;

/// Least length in bytes of a part that is not the last (as above).
pub const PART_LEN_MIN: u64 = 5 << 20;

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPart {
    /// Number of the part, from 1.
    pub(crate) number: u32,
    /// Size in bytes.
    pub(crate) size: u64,
    /// What the store calls these bytes.
    pub(crate) etag: String,
}

/// An upload that has begun and is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) store: &'a Store,
    pub(crate) name: &'a ResourceName,
    pub(crate) id: String,
    /// True if the store gets a checksum with each part.
    pub(crate) has_checksums: bool,
}

impl<'a> Upload<'a> {
    /// Begins an upload of an object that will say which `release` it is, which
    /// `push` made it, and what it is cut from. A store that does not know checksums is
    /// asked once more without.
    pub(crate) fn begin(
        store: &'a Store,
        name: &'a ResourceName,
        release: Option<u64>,
        (push, cut): (&str, &str),
        notify: Notify<'_>,
    ) -> Result<Self, Error> {
        let mut more = HeaderMap::from_iter(release.map(|release| (RELEASE, HeaderValue::from(release))));
        for (name, text) in [(PUSH, push), (CUT, cut)] {
            more.extend(HeaderValue::from_str(text).ok().map(|value| (name, value)));
        }
        more.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static("SHA256"));
        let mut attempts = store.http.attempts(notify);
        let answer = loop {
            let begun = send(store, name, (Method::POST, &[("uploads", "")]), (b"", &sha256_hex(b"")), more.clone());
            match begun {
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                Err(Error::Protocol { .. }) if more.remove(CHECKSUM_ALGORITHM).is_some() => {}
                other => break other?,
            }
        };
        let id = Document::read(&answer.body).upload_id;
        if id.is_empty() {
            return Err(store.protocol(name, "upload begun without an id"));
        }
        Ok(Self { store, name, id, has_checksums: more.contains_key(CHECKSUM_ALGORITHM) })
    }

    /// Sends one part, which the store checks against its SHA-256, and gives the
    /// part's ETag. `sha256` is that of `bytes` in hexadecimal.
    pub(crate) fn put(&self, number: u32, bytes: &[u8], sha256: &str, notify: Notify<'_>) -> Result<String, Error> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", self.id.as_str())];
        let checksum = self.has_checksums.then(|| HeaderValue::from_str(&base64(sha256)).ok()).flatten();
        let more = HeaderMap::from_iter(checksum.map(|checksum| (CHECKSUM, checksum)));
        let mut attempts = self.store.http.attempts(notify);
        let answer = signed(self.store, self.name, (Method::PUT, &query), (bytes, sha256), &more, &mut attempts)?;
        let etag = value(&answer.headers, header::ETAG).map(str::to_owned);
        etag.ok_or_else(|| self.store.protocol(self.name, "part taken without an ETag"))
    }

    /// The parts that the store has, in order.
    pub(crate) fn parts(&self, notify: Notify<'_>) -> Result<Vec<StoredPart>, Error> {
        let (mut parts, mut marker) = (Vec::<StoredPart>::new(), String::new());
        loop {
            let mut query = vec![("uploadId", self.id.as_str())];
            if !marker.is_empty() {
                query.push(("part-number-marker", &marker));
            }
            let mut attempts = self.store.http.attempts(notify);
            let body = (&b""[..], sha256_hex(b""));
            let none = HeaderMap::new();
            let answer = signed(self.store, self.name, (Method::GET, &query), (body.0, &body.1), &none, &mut attempts)?;
            let before = parts.len();
            let document = Document::read(&answer.body);
            let stored = |(number, size, etag): (_, _, &str)| StoredPart { number, size, etag: etag.to_owned() };
            parts.extend(document.parts().map(stored));
            match parts.last() {
                Some(last) if document.is_truncated() && parts.len() > before => marker = last.number.to_string(),
                _ => return Ok(parts),
            }
        }
    }

    /// Makes the object of `parts`, which are all of it in order, and gives its
    /// ETag; `None` where the answer was lost and the upload is gone, so that
    /// only the object can tell.
    /// `begun_before` where an earlier run may have asked for it too.
    pub(crate) fn complete(
        &self,
        parts: &[SentPart],
        begun_before: bool,
        notify: Notify<'_>,
    ) -> Result<Option<String>, Error> {
        let body = complete_body(parts, self.has_checksums);
        let mut attempts = self.store.http.attempts(notify);
        let repeated = std::cell::Cell::new(begun_before);
        let query = [("uploadId", self.id.as_str())];
        loop {
            let result = request_once(
                self.store,
                self.name,
                (Method::POST, &query),
                (body.as_bytes(), &sha256_hex(body.as_bytes())),
            );
            match result {
                Ok(answer) => {
                    let document = Document::read(&answer.body);
                    if !document.etag.is_empty() {
                        return Ok(Some(document.etag));
                    }
                    if !answer.body.trim_ascii().is_empty() {
                        return Err(self.store.protocol(self.name, &failed_late(&document)));
                    }
                    // What came of it shows when it is asked for again.
                    let cause = "the answer is empty".to_owned();
                    attempts.wait_for_retry(HttpError::Broken { host: self.store.host(), cause })?;
                }
                Err(Error::NotFound { .. }) if repeated.get() => return Ok(None),
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                Err(error) => return Err(error),
            }
            repeated.set(true);
        }
    }

    /// Gives the upload up, so that its parts cost nothing; one attempt.
    pub(crate) fn abort(&self) -> Result<(), Error> {
        let query = [("uploadId", self.id.as_str())];
        request_once(self.store, self.name, (Method::DELETE, &query), (b"", &sha256_hex(b""))).map(drop)
    }
}

type Target<'q> = (Method, &'q [(&'q str, &'q str)]);

fn signed(
    store: &Store,
    name: &ResourceName,
    (method, query): Target<'_>,
    body: (&[u8], &str),
    more: &HeaderMap,
    attempts: &mut Attempts<'_>,
) -> Result<BufferedResponse, Error> {
    loop {
        match send(store, name, (method.clone(), query), body, more.clone()) {
            Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
            other => return other,
        }
    }
}

fn request_once(
    store: &Store,
    name: &ResourceName,
    target: Target<'_>,
    body: (&[u8], &str),
) -> Result<BufferedResponse, Error> {
    send(store, name, target, body, HeaderMap::new())
}

/// One attempt, signed with the time of now; only a status of 2xx is an answer, unless
/// the body says that the store is busy.
fn send(
    store: &Store,
    name: &ResourceName,
    (method, query): Target<'_>,
    (body, sha256): (&[u8], &str),
    more: HeaderMap,
) -> Result<BufferedResponse, Error> {
    let mut call = store.signer.sign_query(&store.signer.place(name)?, method.clone(), query, sha256, more)?;
    if method != Method::GET && method != Method::DELETE {
        call = call.body(body);
    }
    let mut response = store.http.open_ready(&call)?;
    if !(200..300).contains(&response.status) {
        return Err(store.refusal(name, response));
    }
    let body = response.body.read_capped(XML_MAX)?;
    // A store may answer 200 immediately and report in the body what went wrong later.
    if let Some(status) = Document::read(&body).late_status() {
        return Err(HttpError::Busy { host: store.host(), status, retry_after: None }.into());
    }
    Ok(BufferedResponse { status: response.status, headers: response.headers, body })
}

fn failed_late(document: &Document) -> String {
    let texts: Vec<_> = document.error_texts().collect();
    if texts.is_empty() { "upload completed without an ETag".to_owned() } else { texts.join(", ") }
}

/// The base64 of a SHA-256 in hexadecimal.
fn base64(sha256: &str) -> String {
    STANDARD.encode(unhex(sha256))
}

fn complete_body(parts: &[SentPart], has_checksums: bool) -> String {
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

/// True for an upload that the store does not know any more.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_with_their_checksums_into_the_body_that_completes_them() {
        let (number, size, sha256, etag) = (1, 5, sha256_hex(b"abc"), "\"a&b\"".to_owned());
        let parts = [SentPart { number, size, sha256, etag }];
        let body = complete_body(&parts, true);
        assert!(body.contains("<PartNumber>1</PartNumber><ETag>\"a&amp;b\"</ETag>"), "{body}");
        // The digest of "abc" is that of FIPS 180-2 appendix B.1.
        let checksum = "<ChecksumSHA256>ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=</ChecksumSHA256></Part>";
        assert!(body.contains(checksum), "{body}");
        assert!(!complete_body(&parts, false).contains("Checksum"));
    }
}
