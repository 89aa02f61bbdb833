//! The HTTP client of every networked stage. It uses https only (plain http on
//! loopback or if allowed), follows no redirects, limits each wait but not the whole
//! transfer, limits the size of a body, detects truncated bodies, and retries
//! idempotent requests with back-off and jitter.

mod agent;
mod body;
mod config;
mod error;
mod probe;
mod proxy;
mod resolve;
mod retry;
mod tls;
mod transport;
mod ureq_error;
mod url;

pub use agent::{BufferedResponse, Http, HttpRequest, Response, server_time};
pub use body::ResponseBody;
pub use config::{ClientCert, HttpConfig};
pub use error::Error;
pub use probe::ProbeResult;
pub use retry::{Attempts, Notify, Retry, RetryNotice};
pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
pub use url::{BaseUrl, Origin};
