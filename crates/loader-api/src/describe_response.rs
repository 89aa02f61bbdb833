//! Description of an unexpected response, for error messages.

use loader_http::{BufferedResponse, header::CONTENT_TYPE};
use loader_model::printable;

/// Maximum number of body characters quoted in a message.
const QUOTE_MAX: usize = 80;

/// Returns status, content type and the first characters of `response`, printable.
/// Does not quote the body if it may repeat one of the `secrets` in the request, or if
/// the status is 2xx, because the body may then be a secret.
pub(crate) fn describe(response: &BufferedResponse, secrets: &[&str]) -> String {
    let mut text = format!("HTTP {}", response.status);
    if (300..400).contains(&response.status) {
        text.push_str(", redirects are not followed");
    }
    if let Some(kind) = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        text.push_str(", ");
        text.push_str(&clip(kind));
    }
    let body = String::from_utf8_lossy(&response.body);
    if (200..300).contains(&response.status) {
        text.push_str(", body not shown because it may be secret");
    } else if secrets.iter().any(|secret| repeats(&body, secret) || may_repeat(&body, secret)) {
        text.push_str(", body not shown because it may repeat the request");
    } else if body.trim().is_empty() {
        text.push_str(", empty body");
    } else {
        text.push_str(": ");
        text.push_str(&clip(body.trim()));
    }
    text
}

/// Body of an error response.
#[derive(serde::Deserialize)]
pub(crate) struct ServerError {
    #[serde(default, rename = "error")]
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Returns the body of an error response `{"error":"code","message":"…"}`, printable; `None`
/// if the body has another form or repeats one of the `secrets`.
pub(crate) fn server_error(response: &BufferedResponse, secrets: &[&str]) -> Option<ServerError> {
    let body: ServerError = serde_json::from_slice(&response.body).ok()?;
    let leaks = secrets.iter().any(|secret| repeats(&body.message, secret) || repeats(&body.code, secret));
    let printable = || ServerError { code: clip(&body.code), message: clip(body.message.trim()) };
    (!leaks && !body.message.trim().is_empty()).then(printable)
}

fn clip(text: &str) -> String {
    printable(text).chars().take(QUOTE_MAX).collect()
}

/// Returns true if `text` may contain the secret in escaped form (JSON, HTML or URL).
fn may_repeat(text: &str, secret: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.contains(['\\', '&', '%']) && !secret.chars().all(is_plain)
}

/// Returns true if `text` contains the secret, plain or as a JSON string.
fn repeats(text: &str, secret: &str) -> bool {
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    !secret.is_empty() && (text.contains(secret) || text.contains(escaped.trim_matches('"')))
}
