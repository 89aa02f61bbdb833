//! What a store says in an XML body, found without parsing it.

use loader_model::printable;

/// Longest text taken from an element, in characters.
const TEXT_MAX: usize = 120;

/// `<Code>` and `<Message>` of an S3 error body, made printable; empty where
/// they are absent. The body is only searched, never parsed, so nothing in it
/// can nest or refer.
pub(crate) fn code_and_message(body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    (element(&text, "Code"), element(&text, "Message"))
}

fn element(text: &str, name: &str) -> String {
    let inner = inner(text, name).unwrap_or_default();
    printable(&inner.trim().chars().take(TEXT_MAX).collect::<String>())
}

/// What stands between the first `<name>` and its end.
pub(crate) fn inner<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    Some(text.split_once(&open)?.1.split_once(&close)?.0)
}

/// Text of an element with the five entities of XML taken back.
pub(crate) fn unescape(text: &str) -> String {
    let text = text.trim().replace("&quot;", "\"").replace("&#34;", "\"").replace("&apos;", "'");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_are_found_and_made_printable() {
        let body = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no\x1b way</Message></Error>";
        assert_eq!(code_and_message(body), ("AccessDenied".to_owned(), "no\\u{1b} way".to_owned()));
        assert_eq!(code_and_message(b"<Code>cut off"), (String::new(), String::new()));
        assert_eq!(code_and_message(b""), (String::new(), String::new()));
    }
}
