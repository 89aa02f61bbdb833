//! HTTP as every networked stage needs it: https only (plain http on loopback or
//! when insisted on), no redirect followed, each wait bounded and the whole
//! transfer not, bodies capped and never short, idempotent requests repeated
//! with back-off and jitter.

mod agent;
mod body;
mod config;
mod error;
mod fault;
mod proxy;
mod reach;
mod resolve;
mod retry;
mod target;
mod tls;

pub use agent::{Answer, Call, Http, Response, server_time};
pub use body::Body;
pub use config::{ClientCert, HttpConfig};
pub use error::Error;
pub use reach::Reached;
pub use retry::{Attempts, Notify, Retry, RetryNotice};
pub use target::{BaseUrl, Origin};
pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
