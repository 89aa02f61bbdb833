//! Other key slots in front of the same stream.
//!
//! The associated data of the stream leaves out header length and fields, and the
//! file key stays: so slots change by writing the header again, and not a byte
//! behind it. What a dropped key has opened or copied before stays open to its
//! holder; only sealing again under a new file key would change that.

mod journal;

pub use journal::{Journal, Leftover};

use crate::layout::{FIXED_LEN, HEADER_LEN, MAC_LEN};
use crate::metadata::Tlvs;
use crate::{Error, Header, Key, KeyId, KeySlot};

/// Type of the field that fills a header up to its old length; its value is
/// zeros. It is the highest type, so nothing has to stand behind it.
const PADDING: u8 = 0xff;

/// Bytes of a field before its value.
const FIELD_HEAD_LEN: usize = 3;

/// Bytes of a key slot with the head of its field.
const SLOT_FIELD_LEN: usize = FIELD_HEAD_LEN + 64;

/// Which slots a header shall have.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotChange<'a> {
    /// Keys that get a slot, or a new one instead of the one they have.
    pub add: &'a [Key],
    /// Ids of the keys and device slots that lose theirs.
    pub drop: &'a [KeyId],
    /// Key slots to leave room for where the header grows, so that the next
    /// ones fit without moving the stream.
    pub spare_slots: usize,
}

/// Why slots were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The header cannot be opened, or cannot be made.
    #[error(transparent)]
    Seal(#[from] Error),
    /// There is no slot to drop.
    #[error("no slot for key {0} to drop")]
    NoSlot(KeyId),
    /// One key is to be added and dropped.
    #[error("key {0} is to be added and dropped")]
    AddedAndDropped(KeyId),
    /// No slot would be left, and nobody could open the file again.
    #[error("the last slot is not dropped: nobody could open the file again")]
    LastSlot,
}

impl RekeyError {
    /// The class of the error, as in the event's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Seal(error) => error.code(),
            Self::NoSlot(_) => "not_found",
            Self::AddedAndDropped(_) | Self::LastSlot => "usage",
        }
    }
}

/// The header with other slots, opened with one of `keys`. Everything that the
/// stream is bound to, all other slots and all other fields are as they were. The
/// new header is exactly as long as `header` wherever that can be done (a shorter
/// one is filled with a field that every reader ignores), else longer.
///
/// # Errors
/// [`RekeyError::Seal`] with the errors of [`Header::unlock`], with
/// [`Error::Malformed`] where the header would be longer than 65536 bytes, and with
/// [`Error::Random`]; [`RekeyError::NoSlot`], [`RekeyError::AddedAndDropped`],
/// [`RekeyError::LastSlot`].
pub fn rekey(header: &Header, keys: &[Key], change: &SlotChange<'_>) -> Result<Header, RekeyError> {
    let file_key = header.file_key(keys)?;
    let mut tlvs = header.tlvs()?;
    if let Some(both) = change.add.iter().map(Key::id).find(|id| change.drop.contains(id)) {
        return Err(RekeyError::AddedAndDropped(both));
    }
    for id in change.drop {
        if !remove(&mut tlvs, *id) {
            return Err(RekeyError::NoSlot(*id));
        }
    }
    for key in change.add {
        remove(&mut tlvs, key.id());
        tlvs.key_slots.push(KeySlot::wrap(&file_key, key, header.file_id())?);
    }
    if tlvs.key_slots.is_empty() && tlvs.device_slots.is_empty() {
        return Err(RekeyError::LastSlot);
    }
    fill(&mut tlvs, header.as_bytes().len(), change.spare_slots)?;
    let plaintext_len = header.plaintext_len();
    let unlocked = Header::build(*header.layout(), plaintext_len, header.file_id(), &file_key, &tlvs)?;
    Ok(unlocked.header().clone())
}

/// Removes the slots of the key; false where there was none.
fn remove(tlvs: &mut Tlvs, id: KeyId) -> bool {
    let slots = |tlvs: &Tlvs| tlvs.key_slots.len() + tlvs.device_slots.len();
    let before = slots(tlvs);
    tlvs.key_slots.retain(|slot| slot.key_id != id);
    tlvs.device_slots.retain(|device| device.slot.key_id != id);
    slots(tlvs) < before
}

/// Pads the fields so that the header is `header_len` bytes, or, where they do not
/// fit, leaves room for `spare_slots`.
fn fill(tlvs: &mut Tlvs, header_len: usize, spare_slots: usize) -> Result<(), Error> {
    tlvs.others.retain(|(kind, value)| *kind != PADDING || value.iter().any(|byte| *byte != 0));
    // A field of that type which is not ours stays, and leaves no place for ours.
    if tlvs.others.iter().any(|(kind, _)| *kind == PADDING) {
        return Ok(());
    }
    let bare_len = FIXED_LEN + tlvs.to_bytes()?.len() + MAC_LEN;
    let pad_len = match header_len.checked_sub(bare_len) {
        Some(0) => 0,
        Some(room) if room >= FIELD_HEAD_LEN => room,
        _ => (spare_slots * SLOT_FIELD_LEN).min(HEADER_LEN.end().saturating_sub(bare_len)),
    };
    tlvs.others.extend(padding(pad_len));
    Ok(())
}

/// Room for `slots` more slots, as a field of a new header.
pub(crate) fn spare_room(slots: usize) -> Option<(u8, Vec<u8>)> {
    padding(slots * SLOT_FIELD_LEN)
}

/// A field of `len` bytes that says nothing; `None` where that is less than a field.
fn padding(len: usize) -> Option<(u8, Vec<u8>)> {
    Some((PADDING, vec![0; len.checked_sub(FIELD_HEAD_LEN)?]))
}

#[cfg(test)]
mod tests;
