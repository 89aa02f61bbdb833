//! The enrolment card: a record of a device at enrolment, which shows later which source
//! changed.
//!
//! A card is not secret, but serials are short and often consecutive, so even a salted hash of
//! one can be found by brute force. A card therefore contains only [`TAG_LEN`] bytes of the hash
//! of each value: brute force leaves one candidate in 65536, that is 65536 of 2^32 possible
//! serials, and cannot narrow them down further. In return the card misses one change in 65536
//! (the id itself changes with every one). The random salt prevents lookups in a precomputed
//! table and makes cards unlinkable. Each further card of a device reveals 16 more bits of each
//! value, so a card is made only once, at enrolment.

use crate::id::{decode_hex, hashed_line, hmac};
use crate::inventory::{HardwareSource, Inventory, SourceState};
use crate::{CardError, HardwareMismatch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Length of a tag in bytes.
const TAG_LEN: usize = 2;

/// Length of a salt in bytes.
const SALT_LEN: usize = 16;

/// Key of the HMAC that makes tags. It differs from the key of the id, so that no tag is a part
/// of an id.
const CARD_KEY: &[u8] = b"azs/hwid/v1/card";

/// Record of a device at enrolment. A card is public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of the format: 1.
    hwid_card: u32,
    /// 32 hexadecimal digits.
    salt: String,
    /// For each name of a source the sorted tags of its values, 4 hexadecimal digits each.
    sources: BTreeMap<String, BTreeSet<String>>,
}

/// A source that differs from the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceChange {
    /// Name of the source.
    pub source: String,
    /// What happened to it.
    pub change: ChangeKind,
    /// Why the source is no longer used, if there is a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The source has other values than before.
    Changed,
    /// The source had no value before.
    New,
    /// The source has no value any more.
    Gone,
}

impl fmt::Display for SourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.change {
            ChangeKind::Changed => "changed",
            ChangeKind::New => "is new",
            ChangeKind::Gone => "is gone",
        };
        write!(f, "{} {what}", self.source)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

impl Card {
    /// Makes a card of this device, with a new random salt.
    ///
    /// # Errors
    /// [`CardError::Random`] if the operating system returns no random bytes.
    pub fn enroll(inventory: &Inventory) -> Result<Self, CardError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|error| CardError::Random(error.into()))?;
        Ok(Self { hwid_card: 1, salt: hex::encode(salt), sources: tags(inventory, &salt) })
    }

    /// Parses a card in JSON.
    ///
    /// # Errors
    /// [`CardError::Malformed`] for any other document, and for another version.
    pub fn from_json(json: &[u8]) -> Result<Self, CardError> {
        let card: Self = serde_json::from_slice(json).map_err(|_| CardError::Malformed)?;
        let tags = card.sources.values().flatten();
        let whole = card.hwid_card == 1
            && card.salt().is_some()
            && card.sources.values().all(|tags| !tags.is_empty())
            && tags.clone().all(|tag| decode_hex::<TAG_LEN>(tag.as_bytes()).is_some());
        if whole { Ok(card) } else { Err(CardError::Malformed) }
    }

    /// Returns the card as one line of JSON with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Checks that the readable sources match the card.
    ///
    /// # Errors
    /// [`HardwareMismatch`] with the differences.
    pub fn check(&self, inventory: &Inventory) -> Result<(), HardwareMismatch> {
        let changes = self.compare(inventory);
        if changes.is_empty() { Ok(()) } else { Err(HardwareMismatch(changes)) }
    }

    /// Returns the sources that differ from the card, sorted by name; an empty list for the same
    /// hardware. Sources that cannot be read are not compared.
    pub fn compare(&self, inventory: &Inventory) -> Vec<SourceChange> {
        let present = tags(inventory, &self.salt().unwrap_or_default());
        let unreadable = |name: &str| {
            inventory
                .sources
                .iter()
                .any(|source| source.name == name && matches!(source.state, SourceState::Unreadable(_)))
        };
        let names: BTreeSet<&String> = self.sources.keys().chain(present.keys()).collect();
        let compared = names.into_iter().filter(|name| !unreadable(name)).filter_map(|name| {
            let change = match (self.sources.get(name), present.get(name)) {
                (Some(then), Some(now)) if then == now => return None,
                (Some(_), Some(_)) => ChangeKind::Changed,
                (None, _) => ChangeKind::New,
                (_, None) => ChangeKind::Gone,
            };
            let mut unused =
                inventory.sources.iter().filter(|source| source.name == *name && source.state != SourceState::Used);
            let reason = unused.find_map(|source| source.state.reason()).map(str::to_owned);
            Some(SourceChange { source: name.clone(), change, reason })
        });
        compared.collect()
    }

    fn salt(&self) -> Option<[u8; SALT_LEN]> {
        decode_hex(self.salt.as_bytes())
    }
}

impl HardwareSource {
    /// Returns a short hash of the value, 4 hexadecimal digits: too few to find the serial by
    /// brute force, enough to see that it changed. `None` for a source that is not used.
    pub fn tag(&self) -> Option<String> {
        tag(self, b"")
    }
}

fn tags(inventory: &Inventory, salt: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &inventory.sources {
        if let Some(tag) = tag(source, salt) {
            tags.entry(source.name.to_owned()).or_default().insert(tag);
        }
    }
    tags
}

fn tag(source: &HardwareSource, salt: &[u8]) -> Option<String> {
    let line = hashed_line(source)?;
    Some(hex::encode(&hmac(CARD_KEY, &[salt, line.as_bytes()])[..TAG_LEN]))
}
