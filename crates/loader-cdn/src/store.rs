//! The store: one signed request, redirects followed with care.

use crate::part::Range;
use crate::sign::{Keys, Place, Signer};
use crate::xml::Document;
use crate::{Ask, Error, Expected, GetPlan, Object, Part, Start};
use loader_http::{
    HeaderMap, HeaderName, Http, HttpRequest, Notify, Origin, ProbeResult, Response, Uri, header, server_time,
};
use loader_model::{CdnCredentials, ResourceName, printable};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Most redirects that are followed.
const REDIRECTS_MAX: u32 = 5;

/// Most that the clocks of signer and store may differ (S3 API reference, error
/// RequestTimeTooSkewed).
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Says which release an object is.
pub(crate) const RELEASE: HeaderName = HeaderName::from_static("x-amz-meta-release");

/// Says which push made an object.
pub(crate) const PUSH: HeaderName = HeaderName::from_static("x-amz-meta-push");

/// Says of which file an object is the big part, and where that was cut.
pub(crate) const CUT: HeaderName = HeaderName::from_static("x-amz-meta-cut");

/// Names the region of a bucket, in an answer that refuses a request for another.
const REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Most bytes of an error body that are read.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// A store with the keys that may read from it, or write too. Can be shared by
/// threads.
#[derive(Clone)]
pub struct Store {
    pub(crate) http: Http,
    pub(crate) signer: Signer,
}

/// Size and version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Size in bytes.
    pub size: u64,
    /// Names this version of the object.
    pub etag: Option<String>,
    /// The release that [`crate::PushPlan`] named when the object was made.
    pub release: Option<u64>,
    /// The file of which it is the big part, and where that was cut.
    pub cut: Option<String>,
    /// Names the push that made the object.
    pub(crate) push: Option<String>,
}

impl Store {
    /// The store that the credentials name. Makes no connection.
    ///
    /// `host` is `https://` where no scheme stands there; a port that the scheme
    /// implies is dropped. Without `bucket` the first folder of a name is the
    /// bucket. Without `region` it is `us-east-1`. Without `path_style` the
    /// bucket stands in the host name on `*.amazonaws.com`, else in the path.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Http`]: the host or the keys cannot be used,
    /// or it is plain http to another machine.
    pub fn new(cdn: &CdnCredentials, http: Http) -> Result<Self, Error> {
        Self::with_keys(cdn, Keys::Downloader, http)
    }

    /// The same store with the keys that may write.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn for_upload(cdn: &CdnCredentials, http: Http) -> Result<Self, Error> {
        Self::with_keys(cdn, Keys::Uploader, http)
    }

    fn with_keys(cdn: &CdnCredentials, keys: Keys, http: Http) -> Result<Self, Error> {
        let signer = Signer::new(cdn, keys)?;
        http.check(signer.origin())?;
        Ok(Self { http, signer })
    }

    /// Asks whether the store is there, without any secret.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub fn probe(&self, notify: Notify<'_>) -> Result<ProbeResult, Error> {
        Ok(self.http.probe(self.signer.endpoint(), notify)?)
    }

    /// The big part of a resource, read in order from `start`. The caller checks the
    /// bytes against `expected`; its size also stands in for one that the store does not
    /// report. Calls `notify` before each repetition.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Clock`],
    /// [`Error::Protocol`], [`Error::Http`] after the last attempt;
    /// [`Error::Changed`] where the version is not that of `start`.
    pub fn get<'a>(
        &self,
        name: &ResourceName,
        plan: GetPlan,
        start: &Start,
        expected: &Expected,
        notify: Notify<'a>,
    ) -> Result<Object<'a>, Error> {
        Object::open(self, name, plan, start, expected, notify)
    }

    /// Size and version of the big part of a resource.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn head(&self, name: &ResourceName, notify: Notify<'_>) -> Result<Meta, Error> {
        let mut ask = Ask { head: true, ..Ask::default() };
        let mut attempts = self.http.attempts(notify);
        loop {
            match self.respond(name, &ask) {
                Ok(response) => match self.meta(name, &ask, response) {
                    Ok(meta) => return Ok(meta),
                    Err(error) if !ask.head => return Err(error),
                    Err(_) => ask = first_byte(),
                },
                Err(Error::Http(error)) => attempts.wait_for_retry(error)?,
                // A proxy that does not pass a HEAD on.
                Err(Error::Protocol { .. }) if ask.head => ask = first_byte(),
                Err(error) => return Err(error),
            }
        }
    }

    /// What the answer to `ask` tells of the object.
    fn meta(&self, name: &ResourceName, ask: &Ask, response: Response) -> Result<Meta, Error> {
        let headers = response.headers;
        let release = value(&headers, RELEASE).and_then(|release| release.parse().ok());
        let of = |name| value(&headers, name).map(str::to_owned);
        let (etag, cut, push) = (of(header::ETAG), of(CUT), of(PUSH));
        let size = if ask.head {
            let size = value(&headers, header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
            size.ok_or_else(|| self.protocol(name, "answer without Content-Length"))?
        } else {
            let part = Part::from_response(ask, response.status, &headers, response.body);
            part.map_err(|what| self.protocol(name, &what))?.total
        };
        Ok(Meta { size, etag, release, cut, push })
    }

    /// Makes one attempt at what is asked for, without repetition. The whole
    /// object may come in place of a range; anything else that does not fit the
    /// range is refused.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn ask(&self, name: &ResourceName, ask: &Ask) -> Result<Part, Error> {
        let response = self.respond(name, ask)?;
        Part::from_response(ask, response.status, &response.headers, response.body)
            .map_err(|what| self.protocol(name, &what))
    }

    /// The answer with status 200 or 206 at the end of the redirects. Signed
    /// anew each time, and only for the store's own origin.
    fn respond(&self, name: &ResourceName, ask: &Ask) -> Result<Response, Error> {
        let place = self.signer.place(name)?;
        let mut call = self.signer.sign(&place, ask)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.http.open_ready(&call)?;
            match response.status {
                301 | 302 | 303 | 307 | 308 if response.headers.contains_key(header::LOCATION) => {
                    call = self.redirected(name, &place, ask, &call, &response.headers)?
                }
                200 | 206 => return Ok(response),
                _ => return Err(self.refusal(name, response)),
            }
        }
        Err(self.protocol(name, "more than 5 redirects"))
    }

    fn redirected(
        &self,
        name: &ResourceName,
        place: &Place,
        ask: &Ask,
        from: &HttpRequest<'_>,
        headers: &HeaderMap,
    ) -> Result<HttpRequest<'static>, Error> {
        let location =
            value(headers, header::LOCATION).ok_or_else(|| self.protocol(name, "redirect without a Location"))?;
        let unusable = || self.protocol(name, "redirect to a location that cannot be used");
        let base: Uri = from.url.parse().map_err(|_| unusable())?;
        let url = if location.starts_with('/') && !location.starts_with("//") {
            format!(
                "{}://{}{location}",
                base.scheme_str().unwrap_or("https"),
                base.authority().map_or("", |a| a.as_str())
            )
        } else {
            location.to_owned()
        };
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        let (from, to) = (Origin::of(&base)?, Origin::of(&uri).map_err(|_| unusable())?);
        if from.is_https() && !to.is_https() {
            return Err(self.protocol(name, "redirect from https to plain http"));
        }
        if to.is_loopback() && !from.is_loopback() {
            return Err(self.protocol(name, "redirect to this machine"));
        }
        match self.signer.place_of(&uri, &place.bucket) {
            Some(place) => self.signer.sign(&place, ask),
            None => Ok(Signer::unsigned(url, ask)),
        }
    }

    pub(crate) fn refusal(&self, name: &ResourceName, mut response: Response) -> Error {
        let document = Document::read(&response.body.read_prefix(ERROR_BODY_MAX));
        let code = document.code.clone();
        let region = value(&response.headers, REGION).or(document.region()).map(printable);
        let (host, key, status) = (self.host(), name.big_key(), response.status);
        let named = if code.is_empty() { format!("HTTP {status}") } else { code.clone() };
        // The answer to a HEAD has no body that could say so.
        let skewed = code.is_empty() && matches!(status, 401 | 403) && is_skewed(server_time(&response.headers));
        match (status, code.as_str()) {
            (_, code) if skewed || code == "RequestTimeTooSkewed" => {
                let date = value(&response.headers, header::DATE);
                let there = |date: &str| format!("; there it is {}", printable(date));
                Error::Clock { host, server_says: date.map_or(String::new(), there) }
            }
            (301 | 302 | 307 | 308 | 400, _)
                if region.as_deref().is_some_and(|there| there != self.signer.region()) =>
            {
                Error::Region { host, key, region: region.unwrap_or_default(), ours: self.signer.region().to_owned() }
            }
            (404, _) => Error::NotFound { host, key, code: named },
            (416, _) => Error::OutOfRange { host, key },
            // Of temporary keys (S3 API reference, error responses).
            (401 | 403, _) | (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                Error::Forbidden { host, key, status, code: if code.is_empty() { "refused".into() } else { code } }
            }
            _ => {
                let what = [format!("HTTP {status}")].into_iter().chain(document.error_texts()).collect::<Vec<_>>();
                Error::Protocol { host, key, what: what.join(", ") }
            }
        }
    }

    pub(crate) fn changed(&self, name: &ResourceName) -> Error {
        Error::Changed { host: self.host(), key: name.big_key() }
    }

    pub(crate) fn protocol(&self, name: &ResourceName, what: &str) -> Error {
        Error::Protocol { host: self.host(), key: name.big_key(), what: what.to_owned() }
    }

    /// What messages call the store: its host.
    pub fn host(&self) -> String {
        self.signer.origin().to_string()
    }
}

/// A request for the first byte, which tells size and version as a HEAD does.
fn first_byte() -> Ask {
    Ask { range: Some(Range { start: 0, end: Some(1) }), ..Ask::default() }
}

/// True where the two clocks differ by more than S3 accepts.
fn is_skewed(there: Option<SystemTime>) -> bool {
    let differ = |there: SystemTime| there.elapsed().unwrap_or_else(|before| before.duration());
    there.is_some_and(|there| differ(there) > SKEW_MAX)
}

/// A header as the store sent it, of any length: for use, not to be shown.
pub(crate) fn value(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("origin", self.signer.origin()).finish_non_exhaustive()
    }
}
