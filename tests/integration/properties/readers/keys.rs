//! Keys and fragments in text form.

use loader_seal::fragment::{Fragment, SetCard, join};
use loader_seal::{Key, KeyId};

/// A parsed key or key id is formatted to the same value.
pub(super) fn key_line(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(key) = Key::parse(&text) {
        assert_eq!(Key::parse(&key.to_text()).unwrap().expose(), key.expose());
        // Bech32m: a line is all lower case or all upper case.
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        assert!(line == *key.to_text() || line == key.to_text().to_lowercase(), "{line}");
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
    }
}

/// Parsed fragments are formatted to the same values. Fragments that can be joined result in
/// the key with their key id.
pub(super) fn fragment_line(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(fragments) = Fragment::parse_all(&text) else { return };
    for fragment in &fragments {
        let again = Fragment::parse(&fragment.to_text()).unwrap();
        assert_eq!(again.to_text(), fragment.to_text());
        assert!((1..=fragment.shares()).contains(&fragment.index()) && fragment.threshold() <= fragment.shares());
    }
    if let Ok(key) = join(&fragments) {
        assert_eq!(key.id(), fragments[0].key_id());
        assert!(fragments.len() >= usize::from(fragments[0].threshold()));
    }
}

/// A parsed card is formatted to the same value.
pub(super) fn card(input: &[u8]) {
    if let Ok(card) = SetCard::from_json(input) {
        assert_eq!(SetCard::from_json(&card.to_line()).unwrap(), card);
    }
}
