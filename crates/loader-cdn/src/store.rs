//! Signed requests to the store, and redirects.

use crate::object_range::ByteRange;
use crate::sign::{KeyRole, ObjectLocation, Signer};
use crate::xml::XmlBody;
use crate::{Error, ExpectedPart, GetRequest, ObjectRange, ObjectReader, ReadPlan, ResumePoint};
use loader_http::{
    HeaderMap, HeaderName, Http, HttpRequest, Notify, Origin, ProbeResult, Response, Uri, header, server_time,
};
use loader_model::{CdnCredentials, ResourceName, printable};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Maximum number of redirects that are followed.
const REDIRECTS_MAX: u32 = 5;

/// Maximum difference between the clocks of client and store (S3 API reference, error
/// RequestTimeTooSkewed).
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Release number of an object.
pub(crate) const RELEASE: HeaderName = HeaderName::from_static("x-amz-meta-release");

/// Id of the push that created an object.
pub(crate) const PUSH_ID: HeaderName = HeaderName::from_static("x-amz-meta-push");

/// Split id of an object: the sealed file to which it belongs, and the offset at which that file
/// was split.
pub(crate) const SPLIT_ID: HeaderName = HeaderName::from_static("x-amz-meta-cut");

/// Region of the bucket, in the response to a request that was signed for another region.
const REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Maximum number of bytes that are read from an error body.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Size of an object whose size the store does not report; no object is that large.
const UNKNOWN_SIZE: u64 = u64::MAX;

/// S3-compatible store with the keys to read from it, or to write to it. Can be shared between
/// threads.
#[derive(Clone)]
pub struct ObjectStore {
    pub(crate) http: Http,
    pub(crate) signer: Signer,
}

/// Size and version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size in bytes, if the store reports it.
    pub size: Option<u64>,
    /// ETag of this version.
    pub etag: Option<String>,
    /// Release number from [`crate::PushPlan`] at the time of the upload.
    pub release: Option<u64>,
    /// Split id that was passed to [`crate::Push::begin`].
    pub split_id: Option<String>,
    /// Id of the push that created the object.
    pub(crate) push_id: Option<String>,
}

impl ObjectStore {
    /// Creates a client that may read the store of `cdn`. Opens no connection.
    ///
    /// If `host` has no scheme, `https://` is used; the default port of a scheme is dropped.
    /// Without `bucket`, the first directory of a resource name is the bucket. Without `region`,
    /// the region is `us-east-1`. Without `path_style`, the bucket is part of the host name on
    /// `*.amazonaws.com` and part of the path on other hosts.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Http`] if the host or the keys cannot be used, or if the
    /// host is a remote machine over plain http.
    pub fn new(cdn: &CdnCredentials, http: Http) -> Result<Self, Error> {
        Self::with_keys(cdn, KeyRole::Downloader, http)
    }

    /// Creates a client that may write to the store.
    ///
    /// # Errors
    /// As [`ObjectStore::new`].
    pub fn for_upload(cdn: &CdnCredentials, http: Http) -> Result<Self, Error> {
        Self::with_keys(cdn, KeyRole::Uploader, http)
    }

    fn with_keys(cdn: &CdnCredentials, keys: KeyRole, http: Http) -> Result<Self, Error> {
        let signer = Signer::new(cdn, keys)?;
        http.check(signer.origin())?;
        Ok(Self { http, signer })
    }

    /// Checks that the store responds, without sending a secret.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub fn probe(&self, notify: Notify<'_>) -> Result<ProbeResult, Error> {
        Ok(self.http.probe(self.signer.endpoint(), notify)?)
    }

    /// Opens the big part of a resource and reads it in order from `start`. The caller has to
    /// check the bytes against `expected`; its size is also used if the store reports none. Calls
    /// `notify` before each retry.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Clock`], [`Error::Protocol`];
    /// [`Error::Http`] after the last attempt; [`Error::Changed`] if the version differs from the
    /// one of `start`.
    pub fn get<'a>(
        &self,
        name: &ResourceName,
        plan: ReadPlan,
        start: &ResumePoint,
        expected: &ExpectedPart,
        notify: Notify<'a>,
    ) -> Result<ObjectReader<'a>, Error> {
        ObjectReader::open(self, name, plan, start, expected, notify)
    }

    /// Returns size and version of the big part of a resource.
    ///
    /// # Errors
    /// As [`ObjectStore::get`].
    pub fn head(&self, name: &ResourceName, notify: Notify<'_>) -> Result<ObjectMeta, Error> {
        let mut request = GetRequest { head: true, ..GetRequest::default() };
        let mut attempts = self.http.attempts(notify);
        loop {
            match self.send_following_redirects(name, &request) {
                Ok(response) => match self.meta(name, &request, response) {
                    Ok(meta) if meta.size.is_none() && request.head => request = first_byte(),
                    outcome => return outcome,
                },
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                // Some proxies do not forward HEAD.
                Err(Error::Protocol { .. }) if request.head => request = first_byte(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the metadata of the object in the response to `request`.
    fn meta(&self, name: &ResourceName, request: &GetRequest, response: Response) -> Result<ObjectMeta, Error> {
        let headers = response.headers;
        let release = header_text(&headers, RELEASE).and_then(|release| release.parse().ok());
        let text = |name| header_text(&headers, name).map(str::to_owned);
        let (etag, split_id, push_id) = (text(header::ETAG), text(SPLIT_ID), text(PUSH_ID));
        let size = if request.head {
            header_text(&headers, header::CONTENT_LENGTH).and_then(|size| size.parse().ok())
        } else {
            let part = ObjectRange::from_response(request, response.status, &headers, response.body);
            let total = part.map_err(|what| self.protocol_error(name, &what))?.total;
            (total != UNKNOWN_SIZE).then_some(total)
        };
        Ok(ObjectMeta { size, etag, release, split_id, push_id })
    }

    /// Makes one attempt at `request`, without retries. The store may return the whole object
    /// instead of a range; any other mismatch is refused.
    ///
    /// # Errors
    /// As [`ObjectStore::get`].
    pub fn get_range(&self, name: &ResourceName, request: &GetRequest) -> Result<ObjectRange, Error> {
        let response = self.send_following_redirects(name, request)?;
        ObjectRange::from_response(request, response.status, &response.headers, response.body)
            .map_err(|what| self.protocol_error(name, &what))
    }

    /// Follows redirects to a response with status 200 or 206. Each request is signed again, and
    /// only requests to the store's own origin are signed.
    fn send_following_redirects(&self, name: &ResourceName, request: &GetRequest) -> Result<Response, Error> {
        let location = self.signer.location(name)?;
        let mut call = self.signer.sign(&location, request)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.http.open_ready(&call)?;
            match response.status {
                301 | 302 | 303 | 307 | 308 if response.headers.contains_key(header::LOCATION) => {
                    call = self.redirect_request(name, &location, request, &call, &response.headers)?
                }
                200 | 206 => return Ok(response),
                _ => return Err(self.refusal_error(name, response)),
            }
        }
        Err(self.protocol_error(name, "more than 5 redirects"))
    }

    fn redirect_request(
        &self,
        name: &ResourceName,
        location: &ObjectLocation,
        request: &GetRequest,
        from: &HttpRequest<'_>,
        headers: &HeaderMap,
    ) -> Result<HttpRequest<'static>, Error> {
        let target = header_text(headers, header::LOCATION)
            .ok_or_else(|| self.protocol_error(name, "redirect without a Location header"))?;
        let invalid = || self.protocol_error(name, "redirect to an invalid location");
        let base: Uri = from.url.parse().map_err(|_| invalid())?;
        let url = if target.starts_with('/') && !target.starts_with("//") {
            format!(
                "{}://{}{target}",
                base.scheme_str().unwrap_or("https"),
                base.authority().map_or("", |a| a.as_str())
            )
        } else {
            target.to_owned()
        };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let (from, to) = (Origin::of(&base)?, Origin::of(&uri).map_err(|_| invalid())?);
        if from.is_https() && !to.is_https() {
            return Err(self.protocol_error(name, "redirect from https to plain http"));
        }
        if to.is_loopback() && !from.is_loopback() {
            return Err(self.protocol_error(name, "redirect to this machine"));
        }
        match self.signer.location_from_url(&uri, &location.bucket) {
            Some(location) => self.signer.sign(&location, request),
            None => Ok(Signer::unsigned(url, request)),
        }
    }

    pub(crate) fn refusal_error(&self, name: &ResourceName, mut response: Response) -> Error {
        let document = XmlBody::read(&response.body.read_prefix(ERROR_BODY_MAX));
        let code = document.code.clone();
        let region = header_text(&response.headers, REGION).or(document.region()).map(printable);
        let (host, key, status) = (self.host(), name.big_key(), response.status);
        let named = if code.is_empty() { format!("HTTP {status}") } else { code.clone() };
        // A response to HEAD has no body with an error code, so compare the clocks.
        let skewed = code.is_empty() && matches!(status, 401 | 403) && is_skewed(server_time(&response.headers));
        match (status, code.as_str()) {
            (_, code) if skewed || code == "RequestTimeTooSkewed" => {
                let date = header_text(&response.headers, header::DATE);
                let server_clock = |date: &str| format!("; the server's clock shows {}", printable(date));
                Error::Clock { host, server_says: date.map_or(String::new(), server_clock) }
            }
            (301 | 302 | 307 | 308 | 400, _)
                if region.as_deref().is_some_and(|region| region != self.signer.region()) =>
            {
                Error::Region { host, key, region: region.unwrap_or_default(), ours: self.signer.region().to_owned() }
            }
            (404, _) => Error::NotFound { host, key, code: named },
            (416, _) => Error::OutOfRange { host, key },
            // These codes concern temporary keys (S3 API reference, error responses).
            (401 | 403, _) | (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                Error::Forbidden { host, key, status, code: if code.is_empty() { "refused".into() } else { code } }
            }
            _ => {
                let what = [format!("HTTP {status}")].into_iter().chain(document.error_texts()).collect::<Vec<_>>();
                Error::Protocol { host, key, what: what.join(", ") }
            }
        }
    }

    pub(crate) fn changed_error(&self, name: &ResourceName) -> Error {
        Error::Changed { host: self.host(), key: name.big_key() }
    }

    pub(crate) fn protocol_error(&self, name: &ResourceName, what: &str) -> Error {
        Error::Protocol { host: self.host(), key: name.big_key(), what: what.to_owned() }
    }

    /// Returns the host, as used in messages.
    pub fn host(&self) -> String {
        self.signer.origin().to_string()
    }
}

/// Returns a request for the first byte, whose response contains size and version like one to
/// HEAD.
fn first_byte() -> GetRequest {
    let range = Some(ByteRange { start: 0, end: Some(1) });
    GetRequest { range, size: Some(UNKNOWN_SIZE), ..GetRequest::default() }
}

/// Returns true if the clocks differ by more than S3 accepts.
fn is_skewed(server_time: Option<SystemTime>) -> bool {
    let difference = |time: SystemTime| time.elapsed().unwrap_or_else(|error| error.duration());
    server_time.is_some_and(|time| difference(time) > SKEW_MAX)
}

/// Returns the text of a header as the store sent it. It may have any length and must not be printed.
pub(crate) fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore").field("origin", self.signer.origin()).finish_non_exhaustive()
    }
}
