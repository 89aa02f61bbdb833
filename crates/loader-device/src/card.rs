//! The enrolment card: what a device looked like when it was enrolled, so that
//! the piece that changed can be named later.
//!
//! A card is not secret, yet serials are short and often counted up, so a hash
//! of one can be searched for however it is salted. What a card holds of each
//! value is therefore cut to [`TAG_LEN`] bytes: a search ends with one candidate
//! in 65536, which of 2^32 possible serials leaves 65536, and no later search
//! does better. In return one change in 65536 goes unseen by the card (never by
//! the id itself). The random salt keeps cards from being looked up in a table
//! and from being linked with each other; each further card of one device tells
//! 16 bits more of it, so it is made once, at enrolment.

use crate::id::{from_hex, hmac, line};
use crate::inventory::{Inventory, Source, State};
use crate::{CardError, OtherHardware};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes of a tag.
const TAG_LEN: usize = 2;

/// Bytes of a salt.
const SALT_LEN: usize = 16;

/// Key of the HMAC that makes tags: another than that of the id, so that no tag
/// is a piece of an id.
const CARD_KEY: &[u8] = b"azs/hwid/v1/card";

/// What a device looked like when it was enrolled. Public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of the card, 1.
    hwid_card: u32,
    /// 32 hexadecimal digits.
    salt: String,
    /// Name of a source, and for each of its values 4 hexadecimal digits, sorted.
    sources: BTreeMap<String, BTreeSet<String>>,
}

/// A source that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name of the source.
    pub source: String,
    /// What happened to it.
    pub change: ChangeKind,
    /// Why it is not used any more, where the system says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Other values than before.
    Changed,
    /// Nothing before, something now.
    New,
    /// Something before, nothing now.
    Gone,
}

impl fmt::Display for Change {
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
    /// The card of this device, with a new salt.
    ///
    /// # Errors
    /// [`CardError::Random`].
    pub fn enroll(inventory: &Inventory) -> Result<Self, CardError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|error| CardError::Random(error.into()))?;
        Ok(Self { hwid_card: 1, salt: hex(&salt), sources: tags(inventory, &salt) })
    }

    /// The card in a JSON document.
    ///
    /// # Errors
    /// [`CardError::Malformed`] for anything else, or another version.
    pub fn from_json(json: &[u8]) -> Result<Self, CardError> {
        let card: Self = serde_json::from_slice(json).map_err(|_| CardError::Malformed)?;
        let tags = card.sources.values().flatten();
        let whole = card.hwid_card == 1
            && card.salt().is_some()
            && card.sources.values().all(|tags| !tags.is_empty())
            && tags.clone().all(|tag| from_hex::<TAG_LEN>(tag.as_bytes()).is_some());
        if whole { Ok(card) } else { Err(CardError::Malformed) }
    }

    /// The card as one line of JSON with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Passes where the hardware is that of the card, as far as it can be read.
    ///
    /// # Errors
    /// [`OtherHardware`].
    pub fn check(&self, inventory: &Inventory) -> Result<(), OtherHardware> {
        let changes = self.compare(inventory);
        if changes.is_empty() { Ok(()) } else { Err(OtherHardware(changes)) }
    }

    /// The sources that are not as they were when the card was made, by name;
    /// none for the same hardware. Of those that the system does not let be read
    /// nothing is known, and nothing is said.
    pub fn compare(&self, inventory: &Inventory) -> Vec<Change> {
        let present = tags(inventory, &self.salt().unwrap_or_default());
        let unreadable = |name: &str| {
            inventory.sources.iter().any(|source| source.name == name && matches!(source.state, State::Unreadable(_)))
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
                inventory.sources.iter().filter(|source| source.name == *name && source.state != State::Used);
            let reason = unused.find_map(|source| source.state.reason()).map(str::to_owned);
            Some(Change { source: name.clone(), change, reason })
        });
        compared.collect()
    }

    fn salt(&self) -> Option<[u8; SALT_LEN]> {
        from_hex(self.salt.as_bytes())
    }
}

impl Source {
    /// What may be shown of the value, 4 hexadecimal digits: too few to find a
    /// serial by them, enough to see that it changed.
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

fn tag(source: &Source, salt: &[u8]) -> Option<String> {
    let line = line(source)?;
    Some(hex(&hmac(CARD_KEY, &[salt, line.as_bytes()])[..TAG_LEN]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
