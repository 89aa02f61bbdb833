//! The card of a set of fragments: public, and enough to say which fragment is
//! not what it was.

use super::{Fragment, Scheme, SetId};
use crate::{Digest, KeyId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What stands before the 61 bytes of a fragment when they are hashed.
///
/// The hash may be public. A fragment ends in 32 bytes that are uniform on their
/// own, so nobody finds it by its hash. To who holds all but one of the fragments
/// needed, the hash of another one tells a right guess of the key from a wrong one,
/// and so does the key id, which is in every fragment already; a key is 32 random
/// bytes, and cannot be guessed. The prefix keeps the hash from being one that
/// something else makes of the same bytes.
const HASH_PREFIX: &[u8] = b"azs/v1/fragment-card\0";

/// What a set of fragments looked like when it was cut. Public. As JSON on one
/// line: `set_card` (1), `scheme`, `k`, `n`, `set`, `key`, and `fragments`, a list
/// of `index` and `sha256`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCard {
    set_card: u32,
    scheme: String,
    k: u8,
    n: u8,
    set: String,
    key: String,
    fragments: Vec<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    index: u8,
    sha256: String,
}

/// Why a fragment is not one of a card, or a document not a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The document is not a card.
    #[error("not a set card of az-split")]
    Malformed,
    /// The fragment is of another key.
    #[error("fragment {index} is foreign: of key {found}, the set card is of key {card}")]
    Foreign {
        /// Index of the fragment.
        index: u8,
        /// Its key.
        found: KeyId,
        /// That of the card.
        card: String,
    },
    /// The fragment is of the same key, cut at another time.
    #[error("fragment {index} is stale: of set {found} of the same key, the set card is of set {card}")]
    Stale {
        /// Index of the fragment.
        index: u8,
        /// Its set.
        found: SetId,
        /// That of the card.
        card: String,
    },
    /// The fragment says that it is of the set, and is not what was cut.
    #[error("fragment {index} was altered: its hash is not the one on the set card")]
    Altered {
        /// Index of the fragment.
        index: u8,
    },
}

impl CardError {
    /// The class of the error, as in the event's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            _ => "wrong_fragment",
        }
    }
}

impl SetCard {
    /// Longest card in bytes: 255 fragments and some.
    pub const LEN_MAX: usize = 32 * 1024;

    /// The card of all fragments of one [`super::split`]; `None` for anything else.
    pub fn of(fragments: &[Fragment]) -> Option<Self> {
        let first = fragments.first()?;
        let whole = fragments.len() == usize::from(first.n)
            && (1..=first.n).zip(fragments).all(|(index, other)| other.index == index && other.set == first.set);
        whole.then(|| Self {
            set_card: 1,
            scheme: first.scheme.as_str().to_owned(),
            k: first.k,
            n: first.n,
            set: first.set.to_string(),
            key: first.key_id.to_string(),
            fragments: fragments
                .iter()
                .map(|fragment| Mark { index: fragment.index, sha256: hash(fragment) })
                .collect(),
        })
    }

    /// The card in a JSON document.
    ///
    /// # Errors
    /// [`CardError::Malformed`] for anything else, or another version.
    pub fn from_json(json: &[u8]) -> Result<Self, CardError> {
        let card: Self = serde_json::from_slice(json).map_err(|_| CardError::Malformed)?;
        // In lower case, as they are compared.
        let is_hex =
            |text: &str, len: usize| text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let marks = || (1..=card.n).zip(&card.fragments);
        let whole = card.set_card == 1
            && [Scheme::Xor, Scheme::Shamir].iter().any(|scheme| scheme.as_str() == card.scheme)
            && is_hex(&card.set, 2 * SetId::LEN)
            && card.key.parse::<KeyId>().is_ok_and(|id| id.to_string() == card.key)
            && card.fragments.len() == usize::from(card.n)
            && marks().all(|(index, mark)| mark.index == index && is_hex(&mark.sha256, 64));
        if whole { Ok(card) } else { Err(CardError::Malformed) }
    }

    /// The card as one line of JSON with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Checks that `fragment` is the very one that was cut.
    ///
    /// # Errors
    /// [`CardError::Foreign`], [`CardError::Stale`] and [`CardError::Altered`], in
    /// this order; [`CardError::Malformed`] where the card says another scheme,
    /// threshold or number than the fragment that it knows.
    pub fn check(&self, fragment: &Fragment) -> Result<(), CardError> {
        let index = fragment.index;
        if fragment.key_id.to_string() != self.key {
            return Err(CardError::Foreign { index, found: fragment.key_id, card: self.key.clone() });
        }
        if fragment.set.to_string() != self.set {
            return Err(CardError::Stale { index, found: fragment.set, card: self.set.clone() });
        }
        let mark = self.fragments.iter().find(|mark| mark.index == index);
        if mark.is_none_or(|mark| mark.sha256 != hash(fragment)) {
            return Err(CardError::Altered { index });
        }
        // They are part of what is hashed, so where they differ the card is not what it was.
        let shape = (fragment.scheme.as_str(), fragment.k, fragment.n);
        if (self.scheme.as_str(), self.k, self.n) == shape { Ok(()) } else { Err(CardError::Malformed) }
    }
}

fn hash(fragment: &Fragment) -> String {
    let mut hash = Sha256::new_with_prefix(HASH_PREFIX);
    hash.update(fragment.to_bytes().as_slice());
    Digest { len: Fragment::LEN as u64, sha256: hash.finalize().into() }.hex()
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;
    use crate::Key;

    #[test]
    fn a_card_knows_its_fragments() {
        let key = Key::generate().unwrap();
        for (scheme, k, n) in [(Scheme::Xor, 3, 3), (Scheme::Shamir, 2, 255)] {
            let fragments = split(&key, scheme, k, n).unwrap();
            let line = SetCard::of(&fragments).unwrap().to_line();
            assert!(line.len() <= SetCard::LEN_MAX);
            let card = SetCard::from_json(&line).unwrap();
            assert!(fragments.iter().all(|fragment| card.check(fragment).is_ok()));
            assert_eq!(SetCard::of(&fragments[1..]), None);
            let mut mixed = fragments.clone();
            mixed.swap(0, 1);
            assert_eq!(SetCard::of(&mixed), None);
            mixed.swap(0, 1);
            mixed[1] = split(&key, scheme, k, n).unwrap().swap_remove(1);
            assert_eq!(SetCard::of(&mixed), None);
            let text = String::from_utf8(line).unwrap();
            for fragment in &fragments {
                let share: String = fragment.share.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(!text.contains(&share));
            }
        }
    }

    #[test]
    fn a_card_in_upper_case_is_none_and_errors_have_their_classes() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let card = SetCard::of(&fragments).unwrap();
        for upper in [
            |card: &mut SetCard| card.set = "AB".repeat(8),
            |card: &mut SetCard| card.key.make_ascii_uppercase(),
            |card: &mut SetCard| card.fragments[0].sha256 = "AB".repeat(32),
        ] {
            let mut other = card.clone();
            upper(&mut other);
            assert_eq!(SetCard::from_json(&other.to_line()), Err(CardError::Malformed));
        }
        let other = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        assert_eq!(card.check(&other[0]).unwrap_err().code(), "wrong_fragment");
        assert_eq!(SetCard::from_json(b"{}").unwrap_err().code(), "malformed");
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Shamir, 2, 3).unwrap();
        let card = SetCard::of(&fragments).unwrap();
        let mut refused = 0;
        for at in 0..Fragment::LEN {
            for bit in 0..8 {
                let mut bytes = fragments[0].to_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(altered) = Fragment::from_bytes(&bytes) else { continue };
                let error = card.check(&altered).unwrap_err();
                let expected = match at {
                    5..13 => matches!(error, CardError::Stale { .. }),
                    13..29 => matches!(error, CardError::Foreign { .. }),
                    _ => matches!(error, CardError::Altered { .. }),
                };
                assert!(expected, "{at}: {error}");
                refused += 1;
            }
        }
        assert!(refused >= 8 * (8 + 16 + 32));
    }

    #[test]
    fn what_is_foreign_or_stale_has_its_own_message() {
        let key = Key::generate().unwrap();
        let set = split(&key, Scheme::Xor, 2, 2).unwrap();
        let again = split(&key, Scheme::Xor, 2, 2).unwrap();
        let other = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let card = SetCard::of(&again).unwrap();
        assert!(card.check(&set[0]).unwrap_err().to_string().contains("is stale"));
        assert!(card.check(&other[0]).unwrap_err().to_string().contains("is foreign"));
    }

    #[test]
    fn what_is_no_card_is_refused() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let whole = String::from_utf8(SetCard::of(&fragments).unwrap().to_line()).unwrap();
        for (from, to) in [
            ("\"set_card\":1", "\"set_card\":2"),
            ("\"xor\"", "\"rot13\""),
            ("azkey1", "azkey2"),
            ("\"n\":2", "\"n\":3"),
            ("\"index\":2", "\"index\":1"),
            ("\"sha256\":\"", "\"sha256\":\"0"),
            ("\"k\"", "\"kk\""),
            ("{", ""),
        ] {
            let bad = whole.replacen(from, to, 1);
            assert_ne!(bad, whole);
            assert_eq!(SetCard::from_json(bad.as_bytes()).unwrap_err(), CardError::Malformed, "{bad}");
        }
    }

    #[test]
    fn the_hash_is_that_of_another_implementation() {
        let share = crate::fragment::Share::new([7; 32]);
        let (set, key_id) = (SetId([9; 8]), KeyId::from_bytes([8; 16]));
        let fragment = Fragment { scheme: Scheme::Shamir, k: 2, n: 3, index: 1, set, key_id, share };
        // Python: sha256(b"azs/v1/fragment-card\0" + bytes([1, 2, 2, 3, 1]) + b"\x09" * 8 + b"\x08" * 16 + b"\x07" * 32)
        assert_eq!(hash(&fragment), "98d0c449d91e6e23cfd9d787eb7fe1010a1fca12fc46b39cf004cdc5c3f436a2");
    }
}
