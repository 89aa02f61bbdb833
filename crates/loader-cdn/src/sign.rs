//! Signs requests with AWS Signature Version 4, computed by `rust-s3`: URL and headers only, no
//! I/O.

use crate::{Error, GetRequest};
use loader_http::{BaseUrl, HeaderMap, HeaderName, HeaderValue, HttpRequest, Method, Origin, Uri, header};
use loader_model::{CdnCredentials, ResourceName};
use ring::hmac;
use s3::command::Command;
use s3::creds::Credentials;
use s3::request::Request;
use s3::request::blocking::AttoRequest;
use s3::{Bucket, Region, signing};

/// Region if the credentials name none.
const DEFAULT_REGION: &str = "us-east-1";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Session token of temporary keys.
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Selects one of the two key pairs in the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// Keys that may read.
    Downloader,
    /// Keys that may read and write.
    Uploader,
}

/// Signer with one key pair.
#[derive(Clone)]
pub(crate) struct Signer {
    endpoint: BaseUrl,
    region: Region,
    credentials: Credentials,
    bucket: Option<String>,
    path_style: bool,
}

/// Bucket and key of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectLocation {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Signer {
    pub(crate) fn new(cdn: &CdnCredentials, keys: KeyRole) -> Result<Self, Error> {
        let endpoint = BaseUrl::parse(&cdn.host)?;
        let region = cdn.region.clone().filter(|region| !region.is_empty()).unwrap_or(DEFAULT_REGION.to_owned());
        let (what, key, secret, token) = match keys {
            KeyRole::Downloader => (
                "downloader",
                Some(&cdn.downloader_access_key),
                Some(&cdn.downloader_access_secret),
                cdn.downloader_token(),
            ),
            KeyRole::Uploader => (
                "uploader",
                cdn.uploader_access_key.as_ref(),
                cdn.uploader_access_secret.as_ref(),
                cdn.uploader_token(),
            ),
        };
        // Pass both keys: if one is missing, `rust-s3` looks in the environment and asks the EC2
        // metadata address.
        let (Some(key), Some(secret)) = (key.filter(|key| !key.is_empty()), secret.filter(|key| !key.is_empty()))
        else {
            return Err(Error::Config(format!("the CDN credentials contain no {what} key")));
        };
        let credentials = Credentials::new(Some(key), Some(secret), None, token, None)
            .map_err(|_| Error::Config("the CDN credentials are invalid".to_owned()))?;
        let path_style = cdn.path_style.unwrap_or_else(|| path_style_by_host(endpoint.origin()));
        let region = Region::Custom { region, endpoint: endpoint.to_string() };
        Ok(Self { endpoint, region, credentials, bucket: cdn.bucket.clone(), path_style })
    }

    /// Returns the region for which requests are signed.
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

    /// Returns the location of the big part of a resource: in the bucket of the credentials or,
    /// if they name none, in the bucket named by the first directory of the resource name.
    pub(crate) fn location(&self, name: &ResourceName) -> Result<ObjectLocation, Error> {
        let key = name.big_key();
        match &self.bucket {
            Some(bucket) => Ok(ObjectLocation { bucket: bucket.clone(), key }),
            None => match key.split_once('/') {
                Some((bucket, key)) => Ok(ObjectLocation { bucket: bucket.to_owned(), key: key.to_owned() }),
                None => Err(Error::Config(format!(
                    "the CDN credentials contain no bucket, and {name} has no directory to use as the bucket"
                ))),
            },
        }
    }

    /// Signs a request for `location` with the current time.
    pub(crate) fn sign(&self, location: &ObjectLocation, request: &GetRequest) -> Result<HttpRequest<'static>, Error> {
        let bucket = self.bucket(location)?;
        let command = match (&request.range, request.head) {
            (_, true) => Command::HeadObject,
            (None, _) => Command::GetObject,
            (Some(range), _) => {
                Command::GetObjectRange { start: range.start, end: range.end.map(|end| end.saturating_sub(1)) }
            }
        };
        let s3_request = AttoRequest::new(&bucket, &location.key, command).map_err(signing_error)?;
        let method = if request.head { Method::HEAD } else { Method::GET };
        let mut call = HttpRequest::new(method, s3_request.url().map_err(signing_error)?.as_str());
        call.headers = s3_request.headers().map_err(signing_error)?;
        for name in [header::AUTHORIZATION, TOKEN] {
            if let Some(value) = call.headers.get_mut(name) {
                value.set_sensitive(true);
            }
        }
        add_if_range(&mut call, request);
        Ok(call)
    }

    /// Signs a request for `location` that has a query and a body, with the current time.
    /// `payload` is the SHA-256 of the body in hexadecimal, so that the store checks every byte.
    /// The given headers are signed too.
    ///
    /// Uses the building blocks of `rust-s3`: its own commands omit the digest of a part, do not
    /// escape the upload id and cannot list parts.
    pub(crate) fn sign_query(
        &self,
        location: &ObjectLocation,
        method: Method,
        query: &[(&str, &str)],
        payload: &str,
        mut headers: HeaderMap,
    ) -> Result<HttpRequest<'static>, Error> {
        let bucket = self.bucket(location)?;
        let request = AttoRequest::new(&bucket, &location.key, Command::HeadObject).map_err(signing_error)?;
        let mut url = request.url().map_err(signing_error)?;
        url.query_pairs_mut().extend_pairs(query);
        let all = request.headers().map_err(signing_error)?;
        for name in [header::HOST, DATE, TOKEN] {
            if let Some(value) = all.get(&name) {
                let mut value = value.clone();
                value.set_sensitive(name == TOKEN);
                headers.insert(name, value);
            }
        }
        headers.insert(PAYLOAD, header_value(payload)?);
        let (now, secret) = (request.datetime(), self.credentials.secret_key.as_deref().unwrap_or_default());
        let canonical = signing::canonical_request(method.as_str(), &url, &headers, payload).map_err(signing_error)?;
        let text = signing::string_to_sign(&now, &self.region, &canonical).map_err(signing_error)?;
        let key = signing::signing_key(&now, secret, &self.region, "s3").map_err(signing_error)?;
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        let access_key = self.credentials.access_key.as_deref().unwrap_or_default();
        let signed = signing::signed_header_string(&headers);
        let authorization =
            signing::authorization_header(access_key, &now, &self.region, &signed, &hex::encode(signature.as_ref()))
                .map_err(signing_error)?;
        let mut authorization = header_value(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        let mut call = HttpRequest::new(method, url.as_str());
        call.headers = headers;
        Ok(call)
    }

    fn bucket(&self, location: &ObjectLocation) -> Result<Box<Bucket>, Error> {
        let bucket =
            Bucket::new(&location.bucket, self.region.clone(), self.credentials.clone()).map_err(signing_error)?;
        Ok(if self.path_style { bucket.with_path_style() } else { bucket })
    }

    /// Returns an unsigned request for another URL, such as a presigned URL, which itself grants
    /// access.
    pub(crate) fn unsigned(url: String, request: &GetRequest) -> HttpRequest<'static> {
        let mut call = HttpRequest::new(if request.head { Method::HEAD } else { Method::GET }, url);
        if let Some(range) = &request.range
            && let Ok(value) = range.to_string().parse()
        {
            call.headers.insert(header::RANGE, value);
        }
        add_if_range(&mut call, request);
        call
    }

    /// Returns the location that `uri` names, if it is on the store's own origin and in `bucket`.
    /// Returns `None` if it names something else or contains its own authorization.
    pub(crate) fn location_from_url(&self, uri: &Uri, bucket: &str) -> Option<ObjectLocation> {
        if uri.query().is_some() || Origin::of(uri).ok()? != *self.origin() || !self.path_style {
            return None;
        }
        let base: Uri = self.endpoint.join(&format!("/{bucket}/")).parse().ok()?;
        let key = uri.path().strip_prefix(base.path())?;
        // Accept only plain resource names: nothing to decode, no parent directory.
        let plain: Result<ResourceName, _> = key.parse();
        plain.ok().map(|key| ObjectLocation { bucket: bucket.to_owned(), key: key.as_str().to_owned() })
    }
}

fn signing_error(_: s3::error::S3Error) -> Error {
    Error::Config("the request for the CDN cannot be signed".to_owned())
}

fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::Config("the request for the CDN cannot be signed".to_owned()))
}

fn add_if_range(call: &mut HttpRequest<'_>, request: &GetRequest) {
    if let Some(etag) = &request.if_range
        && let Ok(value) = etag.parse()
    {
        call.headers.insert(header::IF_RANGE, value);
    }
}

/// Returns the default for `path_style`: the bucket is part of the host name on AWS, which is
/// phasing out the other form, and part of the path on other hosts, so that they need no wildcard
/// DNS name or certificate.
fn path_style_by_host(origin: &Origin) -> bool {
    !origin.host().ends_with(".amazonaws.com")
}
