//! Counters in the text format of Prometheus.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters of a server.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Number of responses by call and status.
    responses: Mutex<BTreeMap<(&'static str, u16), u64>>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) logins_failed: AtomicU64,
    pub(crate) logins_throttled: AtomicU64,
    pub(crate) audit_lines_lost: AtomicU64,
    pub(crate) argon2_waiting: AtomicU64,
    pub(crate) certificate_errors: AtomicU64,
}

impl Metrics {
    /// Counts a response. `call` is the name of a call, not the path of a request: the number
    /// of series is bounded.
    pub(crate) fn response(&self, call: &'static str, status: u16) {
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        *responses.entry((call, status)).or_default() += 1;
    }

    /// Returns all counters as text.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# HELP az_server_responses_total Responses by call and status.\n# TYPE az_server_responses_total counter\n",
        );
        for ((call, status), count) in self.responses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "az_server_responses_total{{call=\"{call}\",status=\"{status}\"}} {count}");
        }
        for (name, kind, help, value) in [
            ("connections_total", "counter", "Accepted connections.", &self.connections),
            ("connections_open", "gauge", "Open connections.", &self.connections_open),
            ("connections_refused_total", "counter", "Connections above the limits.", &self.connections_refused),
            ("handshakes_failed_total", "counter", "Failed TLS handshakes.", &self.handshakes_failed),
            ("logins_failed_total", "counter", "Wrong passwords and unknown users.", &self.logins_failed),
            ("logins_throttled_total", "counter", "Logins refused after too many failures.", &self.logins_throttled),
            (
                "audit_lines_lost_total",
                "counter",
                "Lines that could not be written to the audit log.",
                &self.audit_lines_lost,
            ),
            ("argon2_waiting", "gauge", "Password hashes that wait for a thread.", &self.argon2_waiting),
            (
                "certificate_errors_total",
                "counter",
                "Failed attempts to reload the certificate.",
                &self.certificate_errors,
            ),
        ] {
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "# HELP az_server_{name} {help}\n# TYPE az_server_{name} {kind}\naz_server_{name} {value}"
            );
        }
        text
    }
}

/// Returns the router of a listener for metrics: `/metrics` and `/healthz`.
pub fn metrics_router(metrics: Arc<Metrics>) -> Router {
    let text = move || {
        let text = metrics.text();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(text)).route("/healthz", get("ok\n"))
}
