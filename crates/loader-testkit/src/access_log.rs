//! What was asked and answered: kept for tests, printed with `--log`.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

/// Most requests that are kept.
const KEPT_MAX: usize = 4096;

/// One request and the status of its answer. Query, headers that hold secrets
/// and bodies are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// `api` or `s3`.
    pub server: &'static str,
    /// Method.
    pub method: String,
    /// Path without the query, percent-encoded as it came.
    pub path: String,
    /// The header `Range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Status of the answer.
    pub status: u16,
}

/// A [`RequestLine`] when its answer has ended.
#[derive(Serialize)]
struct LogLine<'a> {
    ts: String,
    #[serde(flatten)]
    request: &'a RequestLine,
    bytes: u64,
}

/// The requests of both listeners, oldest first.
#[derive(Default)]
pub(crate) struct AccessLog {
    print: bool,
    kept: Mutex<VecDeque<RequestLine>>,
}

impl AccessLog {
    /// A log that prints a line for each answer where `print` is set.
    pub(crate) fn new(print: bool) -> Self {
        Self { print, ..Self::default() }
    }

    /// The last requests, at most [`KEPT_MAX`].
    pub(crate) fn requests(&self) -> Vec<RequestLine> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, line: RequestLine) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// A layer's state: the log and the name of the listener.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) log: Arc<AccessLog>,
    pub(crate) server: &'static str,
}

/// The layer: keeps the request before its answer leaves, prints it once the
/// last byte has left or the client has gone.
pub(crate) async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let mut line = RequestLine {
        server: observer.server,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        range: request.headers().get(header::RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned),
        status: 0,
    };
    let response = next.run(request).await;
    line.status = response.status().as_u16();
    observer.log.keep(line.clone());
    if !observer.log.print {
        return response;
    }
    response.map(|inner| Body::new(CountedBody { inner, line, bytes: 0 }))
}

struct CountedBody {
    inner: Body,
    line: RequestLine,
    bytes: u64,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(|frame| frame.data_ref())) {
            self.bytes += data.map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        let ts = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut line = serde_json::to_vec(&LogLine { ts, request: &self.line, bytes: self.bytes }).unwrap_or_default();
        line.push(b'\n');
        // a log that nobody reads must not stop the server
        let _ = std::io::stderr().lock().write_all(&line);
    }
}
