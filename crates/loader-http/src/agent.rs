//! The HTTP client: sends a request and returns the response.

use crate::config::MAX_IDLE_PERIODS;
use crate::resolve::TimedResolver;
use crate::retry::parse_retry_after;
use crate::{Attempts, Error, HttpConfig, Notify, Origin, ResponseBody, Retry, proxy, tls, transport, ureq_error};
use loader_model::printable;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use ureq::http::{HeaderMap, Method, Request, Uri, Version};
use ureq::{Agent, Proxy};
use zeroize::Zeroizing;

/// Maximum number of bytes read from the body of an error response.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Maximum number of idle connections kept open for later requests.
const IDLE_MAX: usize = 64;

/// One HTTP request. It can be sent more than once.
#[derive(Clone)]
pub struct HttpRequest<'a> {
    /// Request method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers in addition to those that the client sets.
    pub headers: HeaderMap,
    /// Request body, if any.
    pub body: Option<&'a [u8]>,
}

impl<'a> HttpRequest<'a> {
    /// Creates a request without headers or body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: None }
    }

    /// Returns the request with one more header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Returns the request with this body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }
}

/// A response whose body has not been read yet.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Response body.
    pub body: ResponseBody,
}

impl Response {
    /// Converts a response whose status means "try again later" into an error.
    pub(crate) fn into_busy(self) -> Error {
        let retry_after = retry_after(&self.headers);
        Error::Busy { host: self.body.host, status: self.status, retry_after }
    }
}

/// A response with its body in memory. The body is wiped on drop.
pub struct BufferedResponse {
    /// Status code.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The complete body if the status is 2xx, otherwise its first 64 KiB.
    pub body: Zeroizing<Vec<u8>>,
}

/// The HTTP client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Http {
    agent: Agent,
    // Requests to loopback never use the proxy: plain http is allowed there only
    // because it does not leave the machine.
    direct: Agent,
    proxy: Option<Proxy>,
    config: Arc<HttpConfig>,
}

impl Http {
    /// Creates a client with these settings. Reads the certificate files, if any.
    /// Opens no connection.
    ///
    /// # Errors
    /// [`Error::Config`] if a certificate file or the proxy cannot be used.
    pub fn new(config: HttpConfig) -> Result<Self, Error> {
        let var = |name: &str| config.proxy_from_env.then(|| std::env::var(name).ok())?;
        let proxy = proxy::from_env(var)?;
        let tls = tls::tls_config(&config)?;
        let build = |proxy| {
            Agent::with_parts(
                Agent::config_builder()
                    .http_status_as_error(false)
                    .max_redirects(0)
                    .proxy(proxy)
                    .tls_config(tls.clone())
                    // Parallel range requests reuse their connections.
                    .max_idle_connections(IDLE_MAX)
                    .max_idle_connections_per_host(IDLE_MAX)
                    .user_agent(config.user_agent.as_str())
                    .timeout_resolve(Some(config.connect_timeout))
                    .timeout_connect(Some(config.connect_timeout))
                    .timeout_per_read(Some(config.idle_timeout))
                    // The per-read timeout alone does not limit a header that arrives byte by byte.
                    .timeout_recv_response(Some(config.idle_timeout * MAX_IDLE_PERIODS))
                    .timeout_per_write(Some(config.idle_timeout))
                    .build(),
                transport::connector(),
                TimedResolver,
            )
        };
        let (agent, direct) = (build(proxy.clone()), build(None));
        Ok(Self { agent, direct, proxy, config: Arc::new(config) })
    }

    /// Returns the retry policy.
    pub fn retry(&self) -> &Retry {
        &self.config.retry
    }

    /// Returns a new attempt counter, which calls `notify` before each retry.
    pub fn attempts<'a>(&'a self, notify: Notify<'a>) -> Attempts<'a> {
        Attempts::new(&self.config.retry, notify)
    }

    /// Checks that requests to `origin` are allowed.
    ///
    /// # Errors
    /// [`Error::Config`] for plain http to another machine.
    pub fn check(&self, origin: &Origin) -> Result<(), Error> {
        if origin.is_https() || origin.is_loopback() || self.config.insecure_http {
            return Ok(());
        }
        Err(Error::Config(
            format!("{origin}: plain http is accepted only for loopback"),
            Some("use https, or allow plain http with --insecure-http"),
        ))
    }

    /// Makes one attempt and returns the response with any status, before its body
    /// is read.
    ///
    /// # Errors
    /// [`Error::Config`] before any traffic, otherwise the error of the connection.
    pub fn open(&self, request: &HttpRequest<'_>) -> Result<Response, Error> {
        let uri: Uri = request.url.parse().map_err(|_| Error::config("a URL cannot be parsed"))?;
        let origin = Origin::of(&uri)?;
        self.check(&origin)?;
        let proxy = self.proxy_to(&origin, &uri);
        proxy.map(proxy::check).transpose()?;
        let host = match proxy {
            Some(proxy) => format!("{origin} by proxy {}:{}", proxy.host(), proxy.port()),
            None => origin.to_string(),
        };
        let mut sent = Request::new(());
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = uri;
        *sent.headers_mut() = request.headers.clone();
        let agent = if origin.is_loopback() { &self.direct } else { &self.agent };
        let (connect, idle) = (self.config.connect_timeout, self.config.idle_timeout);
        let response = match request.body {
            Some(body) => agent.run(sent.map(|()| body)),
            None => agent.run(sent),
        }
        .map_err(|error| ureq_error::classify(error, &host, connect, idle))?;
        let (parts, body) = response.into_parts();
        if proxy.is_some() && parts.status == 407 {
            return Err(Error::ProxyRefused { host, status: 407 });
        }
        // ureq reports no length for `Content-Length: 0`.
        let empty = parts.headers.get(CONTENT_LENGTH).is_some_and(|value| value.as_bytes() == b"0");
        let length = body.content_length().or(empty.then_some(0));
        // Any other body ends when the connection closes, which looks the same as a
        // truncated body. This is accepted only for error responses, whose body is only displayed.
        let chunked = parts.version == Version::HTTP_11 && is_chunked(&parts.headers);
        let framed = length.is_some() || chunked || !parts.status.is_success() || parts.status == 204;
        let encoding = parts.headers.get(CONTENT_ENCODING).filter(|encoding| encoding.as_bytes() != b"identity");
        if let Some(encoding) = encoding.filter(|_| parts.status.is_success()) {
            let encoding = printable(&String::from_utf8_lossy(encoding.as_bytes()));
            return Err(Error::Protocol {
                host,
                what: format!("response is encoded as {encoding}, which was not requested"),
            });
        }
        // The response to a HEAD has no body, whatever its Content-Length.
        let length = if request.method == Method::HEAD { Some(0) } else { length };
        let body = ResponseBody::new(body.into_reader(), host, length, framed, idle);
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Returns the proxy for requests to `uri`, if any.
    fn proxy_to(&self, origin: &Origin, uri: &Uri) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| !origin.is_loopback() && !proxy.is_no_proxy(uri))
    }

    /// Like [`Http::open`], but returns 408, 429 and 5xx as [`Error::Busy`].
    ///
    /// # Errors
    /// [`Error::Busy`], otherwise those of [`Http::open`].
    pub fn open_ready(&self, request: &HttpRequest<'_>) -> Result<Response, Error> {
        let response = self.open(request)?;
        if matches!(response.status, 408 | 429 | 500..=599) { Err(response.into_busy()) } else { Ok(response) }
    }

    /// Sends an idempotent request, with retries, and reads the complete response: at
    /// most `cap` bytes of body if the status is 2xx.
    ///
    /// # Errors
    /// [`Error::GaveUp`] after the last attempt, [`Error::TooLong`], otherwise those
    /// of [`Http::open`].
    pub fn exchange(&self, request: &HttpRequest<'_>, cap: u64, notify: Notify<'_>) -> Result<BufferedResponse, Error> {
        let mut attempts = self.attempts(notify);
        loop {
            match self.exchange_once(request, cap) {
                Ok(response) => return Ok(response),
                Err(error) => attempts.wait_for_retry(error)?,
            }
        }
    }

    fn exchange_once(&self, request: &HttpRequest<'_>, cap: u64) -> Result<BufferedResponse, Error> {
        let mut response = self.open_ready(request)?;
        let body = if (200..300).contains(&response.status) {
            response.body.read_capped(cap)?
        } else {
            response.body.read_prefix(ERROR_BODY_MAX)
        };
        Ok(BufferedResponse { status: response.status, headers: response.headers, body })
    }
}

/// Returns the server's time from the `Date` header.
pub fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked")))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // Measured with the server's clock: the clock of this machine may be unset.
    let now = server_time(headers).unwrap_or_else(SystemTime::now);
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}
