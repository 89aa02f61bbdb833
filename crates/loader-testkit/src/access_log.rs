//! Access log: recorded for tests, printed with `--log`.

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

/// Maximum number of recorded requests.
const RECORDED_MAX: usize = 4096;

/// A request and the status of its response. Query, bodies and headers with secrets
/// are not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// `api` or `s3`.
    pub server: &'static str,
    /// Request method.
    pub method: String,
    /// Path without the query, percent-encoded as received.
    pub path: String,
    /// Value of the `Range` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Status of the response.
    pub status: u16,
}

/// A [`RequestLine`] with the data known after the end of the response.
#[derive(Serialize)]
struct LogLine<'a> {
    ts: String,
    #[serde(flatten)]
    request: &'a RequestLine,
    bytes: u64,
}

/// Requests of both listeners, oldest first.
#[derive(Default)]
pub(crate) struct AccessLog {
    print: bool,
    recorded: Mutex<VecDeque<RequestLine>>,
}

impl AccessLog {
    /// Creates a log. If `print` is set, it prints a line for each response.
    pub(crate) fn new(print: bool) -> Self {
        Self { print, ..Self::default() }
    }

    /// Returns the last requests, at most [`RECORDED_MAX`].
    pub(crate) fn requests(&self) -> Vec<RequestLine> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn record(&self, line: RequestLine) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() == RECORDED_MAX {
            recorded.pop_front();
        }
        recorded.push_back(line);
    }
}

/// State of the middleware: the log and the name of the listener.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) log: Arc<AccessLog>,
    pub(crate) server: &'static str,
}

/// Middleware that records a request before its response is sent, and prints it when
/// the response is complete or the client has disconnected.
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
    observer.log.record(line.clone());
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
        // A closed standard error must not stop the server.
        let _ = std::io::stderr().lock().write_all(&line);
    }
}
