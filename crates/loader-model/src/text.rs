//! Text that came from a server or a file, made safe to show.

/// Longest text, in characters, that goes into a message.
pub const TEXT_MAX_CHARS: usize = 512;

/// `text` with control characters, C1 controls and bidirectional controls
/// written as `\u{..}`, cut at [`TEXT_MAX_CHARS`] characters with an ellipsis.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX_CHARS));
    let mut chars = 0;
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
    fn long_text_is_cut() {
        let cut = printable(&"é".repeat(5000));
        assert_eq!(cut.chars().count(), TEXT_MAX_CHARS);
        assert!(cut.ends_with('…'));
        assert!(printable(&"\u{7}".repeat(5000)).chars().count() <= TEXT_MAX_CHARS);
    }
}
