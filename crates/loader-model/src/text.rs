//! Text that came from a server or a file, made safe to show.

use serde::Serialize;
use std::borrow::Cow;

/// Longest text, in characters, that goes into a message.
pub const TEXT_MAX_CHARS: usize = 512;

/// What every line of a secret begins with, in lower case.
const SECRET_STARTS: [&str; 2] = ["az-secret-key-1", "az-frag-1"];

/// `text` without keys and fragments: someone may paste one where a path belongs.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !SECRET_STARTS.iter().any(|start| lower.contains(start)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(next) = SECRET_STARTS.iter().filter_map(|start| lower[at..].find(start)).min() {
        out.push_str(&text[at..at + next]);
        out.push_str("[secret]");
        let rest = &lower[at + next..];
        at += next + rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// `text` without keys and fragments, with control characters, C1 controls and bidirectional controls
/// written as `\u{..}`, cut at [`TEXT_MAX_CHARS`] characters with an ellipsis.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX_CHARS));
    let mut chars = 0;
    let text = without_secrets(text);
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

/// `value` as one line of JSON with its newline, with the characters that
/// [`printable`] escapes written as `\u....`: the same document, and safe to show.
///
/// # Errors
/// serde_json's, for a value that has no JSON.
pub fn json_line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_unsafe(c) {
            let units = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            line.push_str(&units);
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    Ok(line.into_bytes())
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
    fn a_pasted_key_is_not_shown() {
        assert_eq!(printable("a AZ-SECRET-KEY-1QQ9: no such file"), "a [secret]: no such file");
        assert_eq!(printable("az-frag-1xy é AZ-FRAG-1QZ"), "[secret] é [secret]");
    }

    #[test]
    fn json_is_the_same_document() {
        let text = "a\x1b[31m\"\\\u{7f}\u{85}\u{9b}x\u{202e}y\u{feff} grün ✓ 🦀\n";
        let line = String::from_utf8(json_line(&[text]).unwrap()).unwrap();
        assert!(line.trim_end().chars().all(|c| !is_unsafe(c)), "{line}");
        assert!(line.contains("\\u009bx\\u202ey\\ufeff grün ✓ 🦀"), "{line}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&line).unwrap(), [text]);
    }

    #[test]
    fn long_text_is_cut() {
        let cut = printable(&"é".repeat(5000));
        assert_eq!(cut.chars().count(), TEXT_MAX_CHARS);
        assert!(cut.ends_with('…'));
        assert!(printable(&"\u{7}".repeat(5000)).chars().count() <= TEXT_MAX_CHARS);
    }
}
