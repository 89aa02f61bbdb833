//! One wrong character in a line is always detected, for each position and each ASCII
//! character. `AZ_CORRUPTIONS` is the minimum number of corrupted fragment lines.

use loader_seal::fragment::{Fragment, Scheme, SetCard, split};
use loader_seal::{Key, KeyId};

/// Default minimum number of corrupted fragment lines.
const CORRUPTIONS: usize = 100_000;

/// Checks that `refuses` refuses each text that differs from `text` in one character.
/// Returns the number of these texts.
#[track_caller]
fn corrupt(text: &str, refuses: impl Fn(&str) -> bool) -> usize {
    assert!(!refuses(text), "{text}: refused without corruption");
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..bytes.len() {
        let right = bytes[at];
        for wrong in (0..128).filter(|wrong| *wrong != right) {
            bytes[at] = wrong;
            let corrupted = str::from_utf8(&bytes).unwrap();
            assert!(refuses(corrupted), "accepted with character {at} changed: {corrupted:?}");
        }
        bytes[at] = right;
    }
    127 * bytes.len()
}

#[test]
fn fragment_line_with_a_wrong_character_is_refused() {
    let minimum = std::env::var("AZ_CORRUPTIONS").map_or(CORRUPTIONS, |count| count.parse().unwrap());
    let mut tried = 0;
    while tried < minimum {
        let key = Key::generate().unwrap();
        for (scheme, k, n) in [(Scheme::Xor, 2, 2), (Scheme::Xor, 3, 3), (Scheme::Shamir, 2, 3)] {
            for fragment in split(&key, scheme, k, n).unwrap() {
                tried += corrupt(&fragment.to_text(), |text| Fragment::parse_all(text).is_err());
            }
        }
    }
    assert!(tried >= minimum);
}

#[test]
fn key_line_and_key_id_with_a_wrong_character_are_refused() {
    for _ in 0..4 {
        let key = Key::generate().unwrap();
        corrupt(&key.to_text(), |text| Key::parse(text).is_err());
        corrupt(&key.id().to_string(), |text| text.parse::<KeyId>().is_err());
    }
}

#[test]
fn set_card_with_a_wrong_character_does_not_accept_all_fragments() {
    for (scheme, k, n) in [(Scheme::Xor, 2, 2), (Scheme::Shamir, 3, 5)] {
        let fragments = split(&Key::generate().unwrap(), scheme, k, n).unwrap();
        let line = SetCard::from_fragments(&fragments).unwrap().to_line();
        // The newline at the end is not significant.
        let line = str::from_utf8(&line).unwrap().trim_end();
        corrupt(line, |text| match SetCard::from_json(text.as_bytes()) {
            Ok(card) => fragments.iter().any(|fragment| card.check(fragment).is_err()),
            Err(_) => true,
        });
    }
}
