//! YAML as configuration needs it: small, typed, without aliases or tags.

use serde::de::DeserializeOwned;

/// Longest document in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// Deepest nesting of sequences and mappings.
pub const MAX_DEPTH: usize = 8;

/// Why a document was refused. No variant quotes the document, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Longer than [`MAX_BYTES`].
    #[error("yaml: longer than 16 KiB")]
    TooLong,
    /// Not UTF-8.
    #[error("yaml: not UTF-8")]
    NotText,
    /// An anchor, an alias or a tag.
    #[error("yaml: line {0}: anchors, aliases and tags are not accepted")]
    Reference(usize),
    /// A quoted text that does not end on its line.
    #[error("yaml: line {0}: a quoted text ends on its line here")]
    Quote(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("yaml: nested deeper than 8 levels")]
    TooDeep,
    /// Not YAML.
    #[error("yaml: cannot be parsed")]
    Syntax,
    /// YAML, but not of the expected shape.
    #[error("yaml: a field is missing, unknown or of the wrong type")]
    Shape,
}

/// Reads a document of type `T`.
///
/// # Errors
/// See [`YamlError`]; the text never quotes the source.
pub fn from_slice<T: DeserializeOwned>(document: &[u8]) -> Result<T, YamlError> {
    if document.len() > MAX_BYTES {
        return Err(YamlError::TooLong);
    }
    let text = std::str::from_utf8(document).map_err(|_| YamlError::NotText)?;
    for (i, line) in text.lines().enumerate() {
        line.split(BREAKS).try_for_each(check_line).map_err(|error| error(i + 1))?;
    }
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|_| YamlError::Syntax)?;
    check_value(&value, 0)?;
    serde_yaml::from_value(value).map_err(|_| YamlError::Shape)
}

/// What ends a line in YAML 1.1, and is no end of one for [`str::lines`].
const BREAKS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Refuses a line in which a node begins with `&`, `*` or `!` outside quotes, and one
/// that leaves a quote open: what stands behind the quote's end could not be judged.
fn check_line(line: &str) -> Result<(), fn(usize) -> YamlError> {
    let mut quote = None;
    // In the line above something may have been closed.
    let mut closed = true;
    let mut node_start = true;
    let mut previous = ' ';
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let after_closed = std::mem::take(&mut closed);
        match (quote, c) {
            // In double quotes a backslash takes the next character with it.
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), _) if c == open => (quote, closed) = (None, true),
            (Some(_), _) => {}
            // Behind a key that is quoted, or a list or a map, the value may follow at
            // once, as in JSON.
            (None, ':') if after_closed => node_start = true,
            (None, ']' | '}') => (node_start, closed) = (false, true),
            (None, '#') if previous.is_whitespace() => return Ok(()),
            (None, '"' | '\'') if node_start => quote = Some(c),
            (None, '&' | '*' | '!') if node_start => return Err(YamlError::Reference),
            (None, '[' | '{' | ',') => node_start = true,
            (None, c) if c.is_whitespace() => {
                node_start |= previous == ':';
                closed = after_closed;
            }
            (None, '-' | '?') if node_start && chars.peek().is_none_or(|next| next.is_whitespace()) => {}
            (None, _) => node_start = false,
        }
        previous = c;
    }
    if quote.is_some() { Err(YamlError::Quote) } else { Ok(()) }
}

fn check_value(value: &serde_yaml::Value, depth: usize) -> Result<(), YamlError> {
    use serde_yaml::Value;
    if depth > MAX_DEPTH {
        return Err(YamlError::TooDeep);
    }
    match value {
        Value::Sequence(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        Value::Mapping(pairs) => pairs.iter().try_for_each(|(key, item)| {
            check_value(key, depth + 1)?;
            check_value(item, depth + 1)
        }),
        Value::Tagged(_) => Err(YamlError::Reference(0)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CdnCredentials;
    use std::collections::BTreeMap;

    const CDN: &str = "host: https://cdn.test\ndownloader_access_key: AK\ndownloader_access_secret: \"s*&!\"\n";

    #[test]
    fn cdn_yaml_is_typed() {
        let cdn: CdnCredentials = from_slice(CDN.as_bytes()).unwrap();
        assert_eq!(cdn.downloader_access_secret, "s*&!");
        assert_eq!(cdn.bucket, None);
        let unknown = format!("{CDN}colour: red\n");
        assert_eq!(from_slice::<CdnCredentials>(unknown.as_bytes()).unwrap_err(), YamlError::Shape);
    }

    #[test]
    fn plain_scalars_may_hold_the_signs_of_references() {
        let map: BTreeMap<String, String> = from_slice(b"a: x&y*z!\nb: x & y\nc: 'it''s *'\nd: -!x # *c\n").unwrap();
        assert_eq!(map["b"], "x & y");
        assert_eq!(map["d"], "-!x");
        let json = br#"{"a":"x\\","b":"{!\",&","c":"[*"}"#;
        let map: BTreeMap<String, String> = from_slice(json).unwrap();
        assert_eq!([&map["a"], &map["b"], &map["c"]], ["x\\", "{!\",&", "[*"]);
    }

    #[test]
    fn references_depth_and_size_are_refused() {
        type Any = serde_yaml::Value;
        for bad in [
            "a: &x 1",
            "a: 1\nb: *x",
            "a: !!int 1",
            "- !t x",
            "[&a 1, *a]",
            "&a b: c",
            "{\"a\":&x 1}",
            "{\"a\\\\\":&x 1}",
            "{\"a\" :&x 1,\"b\" :*x }",
            "{\"a\"\n  :&x 1}",
            "{[1]:&x 2}",
            "{[1] :&x 2}",
            "{\"a\" :!!str bad}",
            "{{b: 1}\t:&x 1}",
            "a: [b - \"c, &x 1, e\" ]",
            "a: 1 # c\rb: &x 1",
            "a: 1 # c\u{85}b: &x 1",
            "a: 1 # c\u{2028}b: &x 1",
        ] {
            assert!(matches!(from_slice::<Any>(bad.as_bytes()), Err(YamlError::Reference(_))), "{bad}");
        }
        for bad in ["a: \"x\ny\": &x 1", "[\"x\n\", &a 1, *a]", "a: 'x\n  ': !!int 1", "a: |\n  \"x\nb: &x 1"] {
            assert!(matches!(from_slice::<Any>(bad.as_bytes()), Err(YamlError::Quote(_))), "{bad}");
        }
        let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
        assert_eq!(from_slice::<Any>(deep.as_bytes()), Err(YamlError::TooDeep));
        assert_eq!(from_slice::<Any>(&vec![b' '; MAX_BYTES + 1]), Err(YamlError::TooLong));
        assert_eq!(from_slice::<Any>(b"\xff"), Err(YamlError::NotText));
    }

    #[test]
    fn errors_do_not_quote_the_source() {
        let error = from_slice::<CdnCredentials>(b"host: [hunter2\nx: }").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
