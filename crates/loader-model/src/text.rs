//! Escaping of text from a server or a file, so that it is safe to print.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io::{self, Write};

/// Maximum length of a message in characters.
pub const TEXT_MAX_CHARS: usize = 512;

/// Prefixes of the lines that contain a key or a fragment, in lower case.
const SECRET_PREFIXES: [&str; 2] = ["az-secret-key-1", "az-frag-1"];

/// Replaces keys, fragments, tokens and the queries of URLs by `[secret]`: a user may paste
/// one in place of a path.
fn redact_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut previous, mut in_url) = (text, ' ', false);
    while let Some(c) = rest.chars().next() {
        in_url = (in_url || starts_with(rest, "http://") || starts_with(rest, "https://")) && !ends_url(c);
        let mut hidden = secret_line_len(rest);
        if hidden == 0 && !is_base64url(previous) {
            hidden = token_len(rest);
        }
        if hidden == 0 && in_url && previous == '?' {
            hidden = rest.find(ends_url).unwrap_or(rest.len());
        }
        if hidden > 0 {
            out.push_str("[secret]");
        } else {
            out.push(c);
            hidden = c.len_utf8();
        }
        previous = rest[..hidden].chars().next_back().unwrap_or(c);
        rest = &rest[hidden..];
    }
    out
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start))
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// Returns the length in bytes of the key or fragment at the start of `text`, or 0.
fn secret_line_len(text: &str) -> usize {
    let is_secret = SECRET_PREFIXES.iter().any(|start| starts_with(text, start));
    if is_secret { text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len()) } else { 0 }
}

/// Returns the length in bytes of the JWT at the start of `text`, or 0. A JWT has three
/// parts, of which the first is a JSON object in base64url (RFC 7519 section 3).
fn token_len(text: &str) -> usize {
    if !text.starts_with("eyJ") {
        return 0;
    }
    let len = text.find(|c| !is_base64url(c) && c != '.').unwrap_or(text.len());
    let parts: Vec<_> = text[..len].split('.').collect();
    if parts.len() >= 3 && parts[1].len() > 1 { len } else { 0 }
}

/// Returns `text` in a form that is safe to print: keys, fragments, tokens and queries of
/// URLs are replaced by `[secret]`, control characters (C0, C1, bidirectional) are escaped as
/// `\u{..}`, and text longer than [`TEXT_MAX_CHARS`] characters ends with an ellipsis.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX_CHARS));
    let mut chars = 0;
    let text = redact_secrets(text);
    for c in text.chars() {
        let width = if is_unsafe(c) { c.escape_unicode().len() } else { 1 };
        if chars + width > TEXT_MAX_CHARS - 1 {
            out.push('…');
            break;
        }
        chars += width;
        if is_unsafe(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Serializes `value` as one line of JSON with a newline. The characters that [`printable`]
/// escapes are written as `\u....`, which yields the same document and is safe to print.
///
/// # Errors
/// The error of serde_json if `value` cannot be represented in JSON.
pub fn json_line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = Vec::new();
    write_json_line(&mut line, value)?;
    Ok(line)
}

/// Writes the same line as [`json_line`] to `writer` without any other copy of the text, for
/// secrets.
///
/// # Errors
/// The error of serde_json if `value` cannot be represented in JSON or `writer` fails.
pub fn write_json_line(mut writer: impl Write, value: &impl Serialize) -> Result<(), serde_json::Error> {
    write_json(&mut writer, CompactFormatter, value)
}

/// Serializes `value` like [`json_line`], but on several lines, indented by two spaces per
/// level.
///
/// # Errors
/// The error of serde_json if `value` cannot be represented in JSON.
pub fn json_pretty(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    write_json(&mut lines, PrettyFormatter::new(), value)?;
    Ok(lines)
}

fn write_json(
    writer: &mut impl Write,
    layout: impl Formatter,
    value: &impl Serialize,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(&mut *writer, EscapingFormatter(layout)))?;
    writer.write_all(b"\n").map_err(serde_json::Error::io)
}

/// A formatter with the layout of `F` that escapes every unsafe character of a string.
struct EscapingFormatter<F>(F);

/// Defines methods that call the method of the inner formatter.
macro_rules! delegate {
    ($($method:ident($($flag:ident)?)),+) => {
        $(fn $method<W: ?Sized + Write>(&mut self, writer: &mut W $(, $flag: bool)?) -> io::Result<()> {
            self.0.$method(writer $(, $flag)?)
        })+
    };
}

impl<F: Formatter> Formatter for EscapingFormatter<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(c) = after.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    delegate! {
        begin_array(), end_array(), begin_array_value(first), end_array_value(),
        begin_object(), end_object(), begin_object_key(first), end_object_key(),
        begin_object_value(), end_object_value()
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_bidi_are_escaped() {
        assert_eq!(printable("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(printable("x\u{202e}y\u{85}"), "x\\u{202e}y\\u{85}");
        assert_eq!(printable("grün ✓"), "grün ✓");
    }

    #[test]
    fn keys_and_fragments_are_redacted() {
        assert_eq!(printable("a AZ-SECRET-KEY-1QQ9: no such file"), "a [secret]: no such file");
        assert_eq!(printable("az-frag-1xy é AZ-FRAG-1QZ"), "[secret] é [secret]");
    }

    #[test]
    fn tokens_and_queries_of_urls_are_redacted() {
        assert_eq!(printable("eyJhbGciOi.eyJpc3Mi.c2ln: no such file"), "[secret]: no such file");
        assert_eq!(printable("'/x/eyJhbGciOi.e30.' and"), "'/x/[secret]' and");
        assert_eq!(printable("key.eyJ.pub eyJx.tar.gz xeyJa.bc.d"), "key.eyJ.pub [secret] xeyJa.bc.d");
        assert_eq!(printable("HTTPS://cdn.test/a?X-Sig=1&b=?2: gone"), "HTTPS://cdn.test/a?[secret] gone");
        assert_eq!(printable("\"http://h/a?b\" why? no"), "\"http://h/a?[secret]\" why? no");
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let text = "a\x1b[31m\"\\\u{7f}\u{85}\u{9b}x\u{202e}y\u{feff} grün ✓ 🦀\n";
        let line = String::from_utf8(json_line(&[text]).unwrap()).unwrap();
        assert!(line.trim_end().chars().all(|c| !is_unsafe(c)), "{line}");
        assert!(line.contains("\\u009bx\\u202ey\\ufeff grün ✓ 🦀"), "{line}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&line).unwrap(), [text]);
        let lines = String::from_utf8(json_pretty(&[(text, [1, 2])]).unwrap()).unwrap();
        assert!(lines.starts_with("[\n  [\n    \"a\\u001b[31m") && lines.ends_with("\n  ]\n]\n"), "{lines}");
        assert!(lines.chars().all(|c| c == '\n' || !is_unsafe(c)), "{lines}");
        assert_eq!(serde_json::from_str::<[(String, [u8; 2]); 1]>(&lines).unwrap(), [(text.to_owned(), [1, 2])]);
    }

    #[test]
    fn long_text_is_truncated() {
        let cut = printable(&"é".repeat(5000));
        assert_eq!(cut.chars().count(), TEXT_MAX_CHARS);
        assert!(cut.ends_with('…'));
        assert!(printable(&"\u{7}".repeat(5000)).chars().count() <= TEXT_MAX_CHARS);
    }
}
