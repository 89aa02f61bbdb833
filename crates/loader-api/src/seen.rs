//! What an answer outside the protocol looked like, for the error message.

use loader_http::{Answer, header::CONTENT_TYPE};
use loader_model::printable;

/// Most characters of a body that a message quotes.
const QUOTE_MAX: usize = 80;

/// Status, content type and the first characters of `answer`, made printable.
/// The characters are left out where the body may repeat one of the `secrets` that
/// the request held, and where the status says that it is what was asked for.
pub(crate) fn describe(answer: &Answer, secrets: &[&str]) -> String {
    let mut seen = format!("HTTP {}", answer.status);
    if (300..400).contains(&answer.status) {
        seen.push_str(", redirects are not followed here");
    }
    if let Some(kind) = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        seen.push_str(", ");
        seen.push_str(&clip(kind));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if (200..300).contains(&answer.status) {
        seen.push_str(", text left out because it may be secret");
    } else if secrets.iter().any(|secret| repeats(&text, secret) || may_repeat(&text, secret)) {
        seen.push_str(", text left out because it may repeat the request");
    } else if text.trim().is_empty() {
        seen.push_str(", no text");
    } else {
        seen.push_str(": ");
        seen.push_str(&clip(text.trim()));
    }
    seen
}

/// The server's own words in an answer `{"error":"code","message":"…"}`: code
/// and message, made printable; `None` where the body is something else or
/// repeats one of the `secrets`.
pub(crate) fn server_words(answer: &Answer, secrets: &[&str]) -> Option<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Words {
        #[serde(default)]
        error: String,
        message: String,
    }
    let words: Words = serde_json::from_slice(&answer.body).ok()?;
    let leaks = secrets.iter().any(|secret| repeats(&words.message, secret) || repeats(&words.error, secret));
    (!leaks && !words.message.trim().is_empty()).then(|| (clip(&words.error), clip(words.message.trim())))
}

fn clip(text: &str) -> String {
    printable(text).chars().take(QUOTE_MAX).collect()
}

/// True where `text`, which has escapes of JSON, HTML or URLs, could hold the secret in
/// them.
fn may_repeat(text: &str, secret: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.contains(['\\', '&', '%']) && !secret.chars().all(is_plain)
}

/// True where `text` holds the secret, plain or as a JSON string.
fn repeats(text: &str, secret: &str) -> bool {
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    !secret.is_empty() && (text.contains(secret) || text.contains(escaped.trim_matches('"')))
}
