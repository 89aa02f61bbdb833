//! SigV4 by `rust-s3`: URL and headers of a request, without any I/O.

use crate::expected::hex;
use crate::{Ask, Error};
use loader_http::{BaseUrl, HeaderMap, HeaderName, HeaderValue, HttpRequest, Method, Origin, Uri, header};
use loader_model::{CdnCredentials, ResourceName};
use ring::hmac;
use s3::command::Command;
use s3::creds::Credentials;
use s3::request::Request;
use s3::request::blocking::AttoRequest;
use s3::{Bucket, Region, signing};

/// The region of a store that names none.
const DEFAULT_REGION: &str = "us-east-1";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The token of temporary keys.
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Which keys of the credentials sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those that may read.
    Downloader,
    /// Those that may write too.
    Uploader,
}

/// Signs requests with one pair of keys.
#[derive(Clone)]
pub(crate) struct Signer {
    endpoint: BaseUrl,
    region: Region,
    credentials: Credentials,
    bucket: Option<String>,
    path_style: bool,
}

/// Bucket and key of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Signer {
    pub(crate) fn new(cdn: &CdnCredentials, keys: Keys) -> Result<Self, Error> {
        let endpoint = BaseUrl::parse(&cdn.host)?;
        let region = cdn.region.clone().filter(|region| !region.is_empty()).unwrap_or(DEFAULT_REGION.to_owned());
        let (what, key, secret, token) = match keys {
            Keys::Downloader => (
                "downloader",
                Some(&cdn.downloader_access_key),
                Some(&cdn.downloader_access_secret),
                cdn.downloader_token(),
            ),
            Keys::Uploader => (
                "uploader",
                cdn.uploader_access_key.as_ref(),
                cdn.uploader_access_secret.as_ref(),
                cdn.uploader_token(),
            ),
        };
        // Both keys are always given: for a missing one the crate would look in
        // the environment and ask the metadata address.
        let (Some(key), Some(secret)) = (key.filter(|key| !key.is_empty()), secret.filter(|key| !key.is_empty()))
        else {
            return Err(Error::Config(format!("the CDN credentials hold no {what} key")));
        };
        let credentials = Credentials::new(Some(key), Some(secret), None, token, None)
            .map_err(|_| Error::Config("the CDN credentials cannot be used".to_owned()))?;
        let path_style = cdn.path_style.unwrap_or_else(|| path_style_by_host(endpoint.origin()));
        let region = Region::Custom { region, endpoint: endpoint.to_string() };
        Ok(Self { endpoint, region, credentials, bucket: cdn.bucket.clone(), path_style })
    }

    /// The region that requests are signed for.
    pub(crate) fn region(&self) -> &str {
        match &self.region {
            Region::Custom { region, .. } => region,
            _ => DEFAULT_REGION,
        }
    }

    pub(crate) fn endpoint(&self) -> &BaseUrl {
        &self.endpoint
    }

    pub(crate) fn origin(&self) -> &Origin {
        self.endpoint.origin()
    }

    /// Where the big part of a resource is: in the bucket of the credentials, or
    /// in the one that its first folder names.
    pub(crate) fn place(&self, name: &ResourceName) -> Result<Place, Error> {
        let key = name.big_key();
        match &self.bucket {
            Some(bucket) => Ok(Place { bucket: bucket.clone(), key }),
            None => match key.split_once('/') {
                Some((bucket, key)) => Ok(Place { bucket: bucket.to_owned(), key: key.to_owned() }),
                None => Err(Error::Config(format!(
                    "the CDN credentials name no bucket and {name} has no folder to take it from"
                ))),
            },
        }
    }

    /// The request for `place`, signed with the time of now.
    pub(crate) fn sign(&self, place: &Place, ask: &Ask) -> Result<HttpRequest<'static>, Error> {
        let bucket = self.bucket_of(place)?;
        let command = match (&ask.range, ask.head) {
            (_, true) => Command::HeadObject,
            (None, _) => Command::GetObject,
            (Some(range), _) => {
                Command::GetObjectRange { start: range.start, end: range.end.map(|end| end.saturating_sub(1)) }
            }
        };
        let request = AttoRequest::new(&bucket, &place.key, command).map_err(unsignable)?;
        let method = if ask.head { Method::HEAD } else { Method::GET };
        let mut call = HttpRequest::new(method, request.url().map_err(unsignable)?.as_str());
        call.headers = request.headers().map_err(unsignable)?;
        for name in [header::AUTHORIZATION, TOKEN] {
            if let Some(value) = call.headers.get_mut(name) {
                value.set_sensitive(true);
            }
        }
        add_if_range(&mut call, ask);
        Ok(call)
    }

    /// A request with a query and a body for `place`, signed with the time of
    /// now. `payload` is the SHA-256 of the body in hexadecimal, so the store
    /// checks every byte. `more` are headers that are signed too.
    ///
    /// Put together from the crate's parts: its own commands leave the digest of
    /// a part out, do not escape the id of an upload, and cannot list parts.
    pub(crate) fn sign_query(
        &self,
        place: &Place,
        method: Method,
        query: &[(&str, &str)],
        payload: &str,
        more: HeaderMap,
    ) -> Result<HttpRequest<'static>, Error> {
        let bucket = self.bucket_of(place)?;
        let request = AttoRequest::new(&bucket, &place.key, Command::HeadObject).map_err(unsignable)?;
        let mut url = request.url().map_err(unsignable)?;
        url.query_pairs_mut().extend_pairs(query);
        let all = request.headers().map_err(unsignable)?;
        let mut headers = more;
        for name in [header::HOST, DATE, TOKEN] {
            if let Some(value) = all.get(&name) {
                let mut value = value.clone();
                value.set_sensitive(name == TOKEN);
                headers.insert(name, value);
            }
        }
        headers.insert(PAYLOAD, value(payload)?);
        let (now, secret) = (request.datetime(), self.credentials.secret_key.as_deref().unwrap_or_default());
        let canonical = signing::canonical_request(method.as_str(), &url, &headers, payload).map_err(unsignable)?;
        let text = signing::string_to_sign(&now, &self.region, &canonical).map_err(unsignable)?;
        let key = signing::signing_key(&now, secret, &self.region, "s3").map_err(unsignable)?;
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        let access_key = self.credentials.access_key.as_deref().unwrap_or_default();
        let signed = signing::signed_header_string(&headers);
        let authorization =
            signing::authorization_header(access_key, &now, &self.region, &signed, &hex(signature.as_ref()))
                .map_err(unsignable)?;
        let mut authorization = value(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        let mut call = HttpRequest::new(method, url.as_str());
        call.headers = headers;
        Ok(call)
    }

    fn bucket_of(&self, place: &Place) -> Result<Box<Bucket>, Error> {
        let bucket = Bucket::new(&place.bucket, self.region.clone(), self.credentials.clone()).map_err(unsignable)?;
        Ok(if self.path_style { bucket.with_path_style() } else { bucket })
    }

    /// The request for another URL, without a signature: what it may read, it
    /// may read by itself.
    pub(crate) fn unsigned(url: String, ask: &Ask) -> HttpRequest<'static> {
        let mut call = HttpRequest::new(if ask.head { Method::HEAD } else { Method::GET }, url);
        if let Some(range) = &ask.range
            && let Ok(value) = range.to_string().parse()
        {
            call.headers.insert(header::RANGE, value);
        }
        add_if_range(&mut call, ask);
        call
    }

    /// The place that `uri`, on the store's own origin, names in `bucket`;
    /// `None` where it names something else or carries its own permission.
    pub(crate) fn place_of(&self, uri: &Uri, bucket: &str) -> Option<Place> {
        if uri.query().is_some() || Origin::of(uri).ok()? != *self.origin() || !self.path_style {
            return None;
        }
        let base: Uri = self.endpoint.join(&format!("/{bucket}/")).parse().ok()?;
        let key = uri.path().strip_prefix(base.path())?;
        // Only names that stand for themselves: nothing to decode, no way up.
        let plain: Result<ResourceName, _> = key.parse();
        plain.ok().map(|key| Place { bucket: bucket.to_owned(), key: key.as_str().to_owned() })
    }
}

fn unsignable(_: s3::error::S3Error) -> Error {
    Error::Config("the request for the CDN cannot be signed".to_owned())
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::Config("the request for the CDN cannot be signed".to_owned()))
}

fn add_if_range(call: &mut HttpRequest<'_>, ask: &Ask) {
    if let Some(etag) = &ask.if_range
        && let Ok(value) = etag.parse()
    {
        call.headers.insert(header::IF_RANGE, value);
    }
}

/// Where nothing is said: the bucket stands in the host name on AWS, which is
/// giving up the other form, and in the path everywhere else, which needs no
/// wildcard name and no wildcard certificate.
fn path_style_by_host(origin: &Origin) -> bool {
    !origin.host().ends_with(".amazonaws.com")
}
