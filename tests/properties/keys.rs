//! Keys and fragments as text.

use loader_seal::fragment::{Fragment, SetCard, join};
use loader_seal::{Key, KeyId};

/// A key or a key id that is read is written back as the same one.
pub(super) fn key_line(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(key) = Key::parse(&text) {
        assert_eq!(Key::parse(&key.to_text()).unwrap().expose(), key.expose());
        // Bech32m: a line is one of its two cases, never a mixture.
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        assert!(line == *key.to_text() || line == key.to_text().to_lowercase(), "{line}");
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
    }
}

/// Fragments that are read are written back as the same ones; those that join give
/// the key that they say.
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

/// A card that is read is written back as the same one.
pub(super) fn card(input: &[u8]) {
    if let Ok(card) = SetCard::from_json(input) {
        assert_eq!(SetCard::from_json(&card.to_line()).unwrap(), card);
    }
}
