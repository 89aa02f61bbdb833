//! The agent: one request in, one answer out.

use crate::body::{Pace, SLOW_WAITS};
use crate::resolve::Lookup;
use crate::retry::parse_retry_after;
use crate::{Attempts, Body, Error, HttpConfig, Notify, Origin, Retry, fault, proxy, tls};
use loader_model::printable;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use ureq::http::{HeaderMap, Method, Request, Uri, Version};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy};
use zeroize::Zeroizing;

/// Most bytes kept of the body of an answer that is an error.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Most connections that are kept for the next request.
const IDLE_MAX: usize = 64;

/// One request. The same value can be sent again.
#[derive(Clone)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers beside those of HTTP itself.
    pub headers: HeaderMap,
    /// The body, where there is one.
    pub body: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// A request without headers or body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: None }
    }

    /// The same with a header more.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same with a body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// The error that this answer is, where its status asks to come back later.
    pub(crate) fn busy(self) -> Error {
        let retry_after = retry_after(&self.headers);
        Error::Busy { host: self.body.host, status: self.status, retry_after }
    }
}

/// A whole answer. The body is wiped on drop.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body: whole where the status is 2xx, else its first 64 KiB.
    pub body: Zeroizing<Vec<u8>>,
}

/// The hardened agent. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Http {
    agent: Agent,
    // Loopback is never asked of a proxy: plain http is allowed there only
    // because it does not leave the machine.
    direct: Agent,
    proxy: Option<Proxy>,
    config: Arc<HttpConfig>,
}

impl Http {
    /// An agent with these settings. Reads the certificate files, if any; makes
    /// no connection.
    ///
    /// # Errors
    /// [`Error::Config`]: a certificate file or the proxy cannot be used.
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
                    // Ranges side by side come back to their connections.
                    .max_idle_connections(IDLE_MAX)
                    .max_idle_connections_per_host(IDLE_MAX)
                    .user_agent(config.user_agent.as_str())
                    .timeout_resolve(Some(config.connect_timeout))
                    .timeout_connect(Some(config.connect_timeout))
                    .timeout_per_read(Some(config.idle_timeout))
                    // Drop by drop a head could take for ever, as a body must not.
                    .timeout_recv_response(Some(config.idle_timeout * SLOW_WAITS))
                    .timeout_per_write(Some(config.idle_timeout))
                    .build(),
                DefaultConnector::default(),
                Lookup,
            )
        };
        let (agent, direct) = (build(proxy.clone()), build(None));
        Ok(Self { agent, direct, proxy, config: Arc::new(config) })
    }

    /// The rule of repetition.
    pub fn retry(&self) -> &Retry {
        &self.config.retry
    }

    /// A fresh count of attempts, which calls `notify` before each repetition.
    pub fn attempts<'a>(&'a self, notify: Notify<'a>) -> Attempts<'a> {
        Attempts::new(&self.config.retry, notify)
    }

    /// Checks that the server behind `origin` may be spoken to.
    ///
    /// # Errors
    /// [`Error::Config`]: plain http to another machine.
    pub fn check(&self, origin: &Origin) -> Result<(), Error> {
        if origin.is_https() || origin.is_loopback() || self.config.insecure_http {
            return Ok(());
        }
        Err(Error::Config(
            format!("{origin}: plain http is accepted only for loopback"),
            Some("use https, or insist with --insecure-http"),
        ))
    }

    /// Makes one attempt and gives the answer, whatever its status, with the
    /// body still to be read.
    ///
    /// # Errors
    /// [`Error::Config`] before any traffic; else how the connection failed.
    pub fn open(&self, call: &Call<'_>) -> Result<Response, Error> {
        let uri: Uri = call.url.parse().map_err(|_| Error::config("a URL cannot be parsed"))?;
        let origin = Origin::of(&uri)?;
        self.check(&origin)?;
        let proxy = self.proxy_to(&origin, &uri);
        proxy.map(proxy::check).transpose()?;
        let host = match proxy {
            Some(proxy) => format!("{origin} by proxy {}:{}", proxy.host(), proxy.port()),
            None => origin.to_string(),
        };
        let mut request = Request::new(());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = call.headers.clone();
        let agent = if origin.is_loopback() { &self.direct } else { &self.agent };
        let (connect, idle) = (self.config.connect_timeout, self.config.idle_timeout);
        let response = match call.body {
            Some(body) => agent.run(request.map(|()| body)),
            None => agent.run(request),
        }
        .map_err(|error| fault::classify(error, &host, connect, idle))?;
        let (parts, body) = response.into_parts();
        if proxy.is_some() && parts.status == 407 {
            return Err(Error::ProxyRefused { host, status: 407 });
        }
        // ureq tells no length of a body that is announced as empty.
        let empty = parts.headers.get(CONTENT_LENGTH).is_some_and(|value| value.as_bytes() == b"0");
        let length = body.content_length().or(empty.then_some(0));
        // Any other body of a success ends with the connection, or is cut; that of an
        // error is only shown.
        let chunked = parts.version == Version::HTTP_11 && is_chunked(&parts.headers);
        let framed = length.is_some() || chunked || !parts.status.is_success() || parts.status == 204;
        let encoding = parts.headers.get(CONTENT_ENCODING).filter(|encoding| encoding.as_bytes() != b"identity");
        if let Some(encoding) = encoding.filter(|_| parts.status.is_success()) {
            let encoding = printable(&String::from_utf8_lossy(encoding.as_bytes()));
            return Err(Error::Protocol {
                host,
                what: format!("answer is encoded as {encoding}, which nobody asked for"),
            });
        }
        // What a HEAD announces does not follow.
        let length = if call.method == Method::HEAD { Some(0) } else { length };
        let body = Body { reader: body.into_reader(), host, length, framed, got: 0, idle, pace: Pace::default() };
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// The proxy on the way to `uri`.
    fn proxy_to(&self, origin: &Origin, uri: &Uri) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| !origin.is_loopback() && !proxy.is_no_proxy(uri))
    }

    /// As [`Http::open`], with 408, 429 and 5xx as [`Error::Busy`].
    ///
    /// # Errors
    /// [`Error::Busy`], else as [`Http::open`].
    pub fn open_ready(&self, call: &Call<'_>) -> Result<Response, Error> {
        let response = self.open(call)?;
        if matches!(response.status, 408 | 429 | 500..=599) { Err(response.busy()) } else { Ok(response) }
    }

    /// Makes an idempotent request until its whole answer is here: at most `cap`
    /// bytes of body where the status is 2xx.
    ///
    /// # Errors
    /// [`Error::GaveUp`] after the last attempt; [`Error::TooLong`]; else as
    /// [`Http::open`].
    pub fn exchange(&self, call: &Call<'_>, cap: u64, notify: Notify<'_>) -> Result<Answer, Error> {
        let mut attempts = self.attempts(notify);
        loop {
            match self.exchange_once(call, cap) {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.again(error)?,
            }
        }
    }

    fn exchange_once(&self, call: &Call<'_>, cap: u64) -> Result<Answer, Error> {
        let mut response = self.open_ready(call)?;
        let body = if (200..300).contains(&response.status) {
            response.body.read_capped(cap)?
        } else {
            response.body.read_front(ERROR_BODY_MAX)
        };
        Ok(Answer { status: response.status, headers: response.headers, body })
    }
}

/// The server's clock, as the header `Date` tells it.
pub fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked")))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // By the clock that the date was made with; that of this machine may never have been set.
    let now = server_time(headers).unwrap_or_else(SystemTime::now);
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}
