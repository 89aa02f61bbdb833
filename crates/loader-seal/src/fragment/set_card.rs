//! Set cards: public hashes of the fragments of a set, used to find an altered fragment.

use super::{Fragment, Scheme, SetId};
use crate::{Digest, KeyId};
use loader_model::{Coded, ErrorCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes that are hashed before the 61 bytes of a fragment, so that the hash is not used
/// for anything else.
///
/// The hash can be public. A fragment contains 32 uniformly random bytes, so it cannot be
/// found by its hash. Somebody with all but one of the needed fragments can verify a guess
/// of the key with the hash of another fragment, but also with the key id, which is in
/// every fragment; a key is 32 random bytes, which cannot be guessed.
const HASH_PREFIX: &[u8] = b"azs/v1/fragment-card\0";

/// Public description of a set of fragments. Its JSON document has the members `set_card`
/// (1), `scheme`, `k`, `n`, `set`, `key`, and `fragments`, a list of objects with `index`
/// and `sha256`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCard {
    set_card: u32,
    scheme: String,
    k: u8,
    n: u8,
    set: String,
    key: String,
    fragments: Vec<FragmentHash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FragmentHash {
    index: u8,
    sha256: String,
}

/// Reason why a fragment does not match a set card, or a document is not a set card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetCardError {
    /// The document is not a set card.
    #[error("not a set card of az-split")]
    Malformed,
    /// The fragment is for another key.
    #[error("fragment {index} is foreign: it is for key {found}, the set card is for key {card}")]
    Foreign {
        /// Index of the fragment.
        index: u8,
        /// Key of the fragment.
        found: KeyId,
        /// Key of the set card.
        card: String,
    },
    /// The fragment is for the same key, but from another set.
    #[error("fragment {index} is stale: it is from set {found} of the same key, the set card is for set {card}")]
    Stale {
        /// Index of the fragment.
        index: u8,
        /// Set of the fragment.
        found: SetId,
        /// Set of the set card.
        card: String,
    },
    /// The fragment has the set id of the card, but not the hash.
    #[error("fragment {index} was altered: its hash is not the one on the set card")]
    Altered {
        /// Index of the fragment.
        index: u8,
    },
}

impl Coded for SetCardError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::Malformed,
            _ => ErrorCode::WrongFragment,
        }
    }
}

impl SetCard {
    /// Maximum length of a set card in bytes, sufficient for 255 fragments.
    pub const LEN_MAX: usize = 32 * 1024;

    /// Creates the set card for all fragments of one [`super::split`]. Returns `None` for
    /// other lists of fragments.
    pub fn from_fragments(fragments: &[Fragment]) -> Option<Self> {
        let first = fragments.first()?;
        let is_complete = fragments.len() == usize::from(first.n)
            && (1..=first.n).zip(fragments).all(|(index, other)| other.index == index && other.set == first.set);
        is_complete.then(|| Self {
            set_card: 1,
            scheme: first.scheme.as_str().to_owned(),
            k: first.k,
            n: first.n,
            set: first.set.to_string(),
            key: first.key_id.to_string(),
            fragments: fragments
                .iter()
                .map(|fragment| FragmentHash { index: fragment.index, sha256: hash(fragment) })
                .collect(),
        })
    }

    /// Parses a JSON document.
    ///
    /// # Errors
    /// [`SetCardError::Malformed`] for invalid documents and other versions.
    pub fn from_json(json: &[u8]) -> Result<Self, SetCardError> {
        let card: Self = serde_json::from_slice(json).map_err(|_| SetCardError::Malformed)?;
        // Lower case only, because the texts are compared.
        let is_hex =
            |text: &str, len: usize| text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut fragments = (1..=card.n).zip(&card.fragments);
        let is_valid = card.set_card == 1
            && [Scheme::Xor, Scheme::Shamir].iter().any(|scheme| scheme.as_str() == card.scheme)
            && is_hex(&card.set, 2 * SetId::LEN)
            && card.key.parse::<KeyId>().is_ok_and(|id| id.to_string() == card.key)
            && card.fragments.len() == usize::from(card.n)
            && fragments.all(|(index, fragment)| fragment.index == index && is_hex(&fragment.sha256, 64));
        if is_valid { Ok(card) } else { Err(SetCardError::Malformed) }
    }

    /// Returns the card as one line of JSON with a newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Checks that `fragment` is an unaltered fragment of the set.
    ///
    /// # Errors
    /// [`SetCardError::Foreign`], [`SetCardError::Stale`] and [`SetCardError::Altered`], in
    /// this order; [`SetCardError::Malformed`] if the hash matches, but the card has another
    /// scheme, threshold or number of fragments.
    pub fn check(&self, fragment: &Fragment) -> Result<(), SetCardError> {
        let index = fragment.index;
        if fragment.key_id.to_string() != self.key {
            return Err(SetCardError::Foreign { index, found: fragment.key_id, card: self.key.clone() });
        }
        if fragment.set.to_string() != self.set {
            return Err(SetCardError::Stale { index, found: fragment.set, card: self.set.clone() });
        }
        let expected = self.fragments.iter().find(|expected| expected.index == index);
        if expected.is_none_or(|expected| expected.sha256 != hash(fragment)) {
            return Err(SetCardError::Altered { index });
        }
        // The hash covers these values. If they differ, the card was altered.
        let size = (fragment.scheme.as_str(), fragment.k, fragment.n);
        if (self.scheme.as_str(), self.k, self.n) == size { Ok(()) } else { Err(SetCardError::Malformed) }
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
    fn card_accepts_its_fragments() {
        let key = Key::generate().unwrap();
        for (scheme, k, n) in [(Scheme::Xor, 3, 3), (Scheme::Shamir, 2, 255)] {
            let fragments = split(&key, scheme, k, n).unwrap();
            let line = SetCard::from_fragments(&fragments).unwrap().to_line();
            assert!(line.len() <= SetCard::LEN_MAX);
            let card = SetCard::from_json(&line).unwrap();
            assert!(fragments.iter().all(|fragment| card.check(fragment).is_ok()));
            assert_eq!(SetCard::from_fragments(&fragments[1..]), None);
            let mut mixed = fragments.clone();
            mixed.swap(0, 1);
            assert_eq!(SetCard::from_fragments(&mixed), None);
            mixed.swap(0, 1);
            mixed[1] = split(&key, scheme, k, n).unwrap().swap_remove(1);
            assert_eq!(SetCard::from_fragments(&mixed), None);
            let text = String::from_utf8(line).unwrap();
            for fragment in &fragments {
                let share = hex::encode(&fragment.share[..]);
                assert!(!text.contains(&share));
            }
        }
    }

    #[test]
    fn upper_case_card_is_refused_and_errors_have_codes() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let card = SetCard::from_fragments(&fragments).unwrap();
        for upper in [
            |card: &mut SetCard| card.set = "AB".repeat(8),
            |card: &mut SetCard| card.key.make_ascii_uppercase(),
            |card: &mut SetCard| card.fragments[0].sha256 = "AB".repeat(32),
        ] {
            let mut other = card.clone();
            upper(&mut other);
            assert_eq!(SetCard::from_json(&other.to_line()), Err(SetCardError::Malformed));
        }
        let other = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        assert_eq!(card.check(&other[0]).unwrap_err().code().as_str(), "wrong_fragment");
        assert_eq!(SetCard::from_json(b"{}").unwrap_err().code().as_str(), "malformed");
    }

    #[test]
    fn every_altered_byte_is_detected() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Shamir, 2, 3).unwrap();
        let card = SetCard::from_fragments(&fragments).unwrap();
        let mut refused = 0;
        for at in 0..Fragment::LEN {
            for bit in 0..8 {
                let mut bytes = fragments[0].to_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(altered) = Fragment::from_bytes(&bytes) else { continue };
                let error = card.check(&altered).unwrap_err();
                let expected = match at {
                    5..13 => matches!(error, SetCardError::Stale { .. }),
                    13..29 => matches!(error, SetCardError::Foreign { .. }),
                    _ => matches!(error, SetCardError::Altered { .. }),
                };
                assert!(expected, "{at}: {error}");
                refused += 1;
            }
        }
        assert!(refused >= 8 * (8 + 16 + 32));
    }

    #[test]
    fn foreign_and_stale_fragments_have_different_messages() {
        let key = Key::generate().unwrap();
        let set = split(&key, Scheme::Xor, 2, 2).unwrap();
        let again = split(&key, Scheme::Xor, 2, 2).unwrap();
        let other = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let card = SetCard::from_fragments(&again).unwrap();
        assert!(card.check(&set[0]).unwrap_err().to_string().contains("is stale"));
        assert!(card.check(&other[0]).unwrap_err().to_string().contains("is foreign"));
    }

    #[test]
    fn invalid_card_is_refused() {
        let fragments = split(&Key::generate().unwrap(), Scheme::Xor, 2, 2).unwrap();
        let whole = String::from_utf8(SetCard::from_fragments(&fragments).unwrap().to_line()).unwrap();
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
            assert_eq!(SetCard::from_json(bad.as_bytes()).unwrap_err(), SetCardError::Malformed, "{bad}");
        }
    }

    #[test]
    fn hash_matches_another_implementation() {
        let share = crate::fragment::Share::new([7; 32]);
        let (set, key_id) = (SetId([9; 8]), KeyId::from_bytes([8; 16]));
        let fragment = Fragment { scheme: Scheme::Shamir, k: 2, n: 3, index: 1, set, key_id, share };
        // Python: sha256(b"azs/v1/fragment-card\0" + bytes([1, 2, 2, 3, 1]) + b"\x09" * 8 + b"\x08" * 16 + b"\x07" * 32)
        assert_eq!(hash(&fragment), "98d0c449d91e6e23cfd9d787eb7fe1010a1fca12fc46b39cf004cdc5c3f436a2");
    }
}
