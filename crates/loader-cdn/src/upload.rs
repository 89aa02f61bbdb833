//! The requests of a multipart upload, each with its repetitions.

use crate::expected::sha256_hex;
use crate::store::{CUT, PUSH, RELEASE, value};
use crate::{Error, Store, xml};
use loader_http::{Answer, Attempts, HeaderMap, HeaderValue, Method, Notify, header};
use loader_model::ResourceName;

/// Most bytes of an XML answer: a list of 1000 parts is some 300 KiB.
const XML_MAX: u64 = 4 << 20;

/// Most parts of an upload (S3 user guide, multipart limits).
pub const PARTS_MAX: u32 = 10_000;

/// Least length in bytes of a part that is not the last (as above).
pub const PART_LEN_MIN: u64 = 5 << 20;

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Number of the part, from 1.
    pub number: u32,
    /// Size in bytes.
    pub size: u64,
    /// What the store calls these bytes.
    pub etag: String,
}

/// An upload that has begun and is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) store: &'a Store,
    pub(crate) name: &'a ResourceName,
    pub(crate) id: String,
}

impl<'a> Upload<'a> {
    /// Begins an upload of an object that will say which `release` it is, which
    /// `push` made it, and what it is cut from.
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
        let mut attempts = store.http.attempts(notify);
        let answer = loop {
            let begun = send(store, name, (Method::POST, &[("uploads", "")]), (b"", &sha256_hex(b"")), more.clone());
            match begun {
                Err(Error::Http(error)) => attempts.again(error)?,
                other => break other?,
            }
        };
        let id = field(&answer, "UploadId").ok_or_else(|| store.protocol(name, "upload begun without an id"))?;
        Ok(Self { store, name, id })
    }

    /// Sends one part, which the store checks against its SHA-256, and gives the
    /// part's ETag. `sha256` is that of `bytes` in hexadecimal.
    pub(crate) fn put(&self, number: u32, bytes: &[u8], sha256: &str, notify: Notify<'_>) -> Result<String, Error> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", self.id.as_str())];
        let mut attempts = self.store.http.attempts(notify);
        let answer = signed(self.store, self.name, (Method::PUT, &query), (bytes, sha256), &mut attempts)?;
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
            let answer = request(self.store, self.name, (Method::GET, &query), b"", &mut attempts)?;
            let before = parts.len();
            parts.extend(listed(&String::from_utf8_lossy(&answer.body)));
            let more = field(&answer, "IsTruncated").as_deref() == Some("true");
            match parts.last() {
                Some(last) if more && parts.len() > before => marker = last.number.to_string(),
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
        parts: &[StoredPart],
        begun_before: bool,
        notify: Notify<'_>,
    ) -> Result<Option<String>, Error> {
        let body = complete_body(parts);
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
                // A store may say 200 at once and what went wrong later, in the body.
                Ok(answer) => match field(&answer, "ETag") {
                    Some(etag) => return Ok(Some(etag)),
                    None => return Err(self.store.protocol(self.name, &failed_late(&answer))),
                },
                Err(Error::NotFound { .. }) if repeated.get() => return Ok(None),
                Err(Error::Http(error)) => attempts.again(error)?,
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

fn request(
    store: &Store,
    name: &ResourceName,
    target: Target<'_>,
    body: &[u8],
    attempts: &mut Attempts<'_>,
) -> Result<Answer, Error> {
    signed(store, name, target, (body, &sha256_hex(body)), attempts)
}

fn signed(
    store: &Store,
    name: &ResourceName,
    (method, query): Target<'_>,
    body: (&[u8], &str),
    attempts: &mut Attempts<'_>,
) -> Result<Answer, Error> {
    loop {
        match request_once(store, name, (method.clone(), query), body) {
            Err(Error::Http(error)) => attempts.again(error)?,
            other => return other,
        }
    }
}

fn request_once(store: &Store, name: &ResourceName, target: Target<'_>, body: (&[u8], &str)) -> Result<Answer, Error> {
    send(store, name, target, body, HeaderMap::new())
}

/// One attempt, signed with the time of now; only a status of 2xx is an answer.
fn send(
    store: &Store,
    name: &ResourceName,
    (method, query): Target<'_>,
    (body, sha256): (&[u8], &str),
    more: HeaderMap,
) -> Result<Answer, Error> {
    let mut call = store.signer.sign_query(&store.signer.place(name)?, method.clone(), query, sha256, more)?;
    if method != Method::GET && method != Method::DELETE {
        call = call.body(body);
    }
    let mut response = store.http.open_ready(&call)?;
    if !(200..300).contains(&response.status) {
        return Err(store.refusal(name, response));
    }
    let body = response.body.read_capped(XML_MAX)?;
    Ok(Answer { status: response.status, headers: response.headers, body })
}

fn field(answer: &Answer, name: &str) -> Option<String> {
    xml::inner(&String::from_utf8_lossy(&answer.body), name).map(xml::unescape).filter(|text| !text.is_empty())
}

fn failed_late(answer: &Answer) -> String {
    let (code, message) = xml::code_and_message(&answer.body);
    if code.is_empty() { "upload completed without an ETag".to_owned() } else { format!("{code}, {message}") }
}

/// The `<Part>` elements of a list.
fn listed(text: &str) -> Vec<StoredPart> {
    let parts = text.split("<Part>").skip(1).map(|rest| rest.split("</Part>").next().unwrap_or_default());
    parts
        .filter_map(|part| {
            let number = xml::inner(part, "PartNumber")?.trim().parse().ok()?;
            let size = xml::inner(part, "Size")?.trim().parse().ok()?;
            Some(StoredPart { number, size, etag: xml::unescape(xml::inner(part, "ETag")?) })
        })
        .collect()
}

fn complete_body(parts: &[StoredPart]) -> String {
    let mut body = "<CompleteMultipartUpload>".to_owned();
    for StoredPart { number, etag, .. } in parts {
        let etag = etag.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
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
    fn listed_parts_go_into_the_body_that_completes_them() {
        let text = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>\
                    <LastModified>x</LastModified><ETag>&quot;a&amp;b&quot;</ETag><Size>5</Size></Part>\
                    <Part><PartNumber>2</PartNumber></Part></ListPartsResult>";
        let parts = listed(text);
        assert_eq!(parts, [StoredPart { number: 1, size: 5, etag: "\"a&b\"".to_owned() }]);
        let body = complete_body(&parts);
        assert!(body.contains("<PartNumber>1</PartNumber><ETag>\"a&amp;b\"</ETag>"), "{body}");
    }
}
