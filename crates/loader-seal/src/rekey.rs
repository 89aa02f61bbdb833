//! Changing the slots of a sealed file (crates/loader-seal/README.md, "Other keys for a
//! file").
//!
//! The file key stays the same, and header length and fields are not associated data of
//! the stream. So only the header is rewritten, and the stream does not change. The holder
//! of a dropped key can still open copies with the old header; to prevent that, the content
//! must be sealed again with a new file key.

mod header_journal;

pub use header_journal::{HeaderJournal, RecoveryState};

use crate::fields::{FIELD_HEAD_LEN, Fields};
use crate::layout::{FIXED_LEN, HEADER_LEN, MAC_LEN};
use crate::slot::KEY_SLOT_LEN;
use crate::{Error, Header, Key, KeyId, KeySlot};
use loader_model::{Coded, ErrorCode};

/// Type of the padding field, whose value is zeros. It is the highest type, so that the
/// field is always the last one.
const PADDING: u8 = 0xff;

/// Length in bytes of the field of a key slot.
const SLOT_FIELD_LEN: usize = FIELD_HEAD_LEN + KEY_SLOT_LEN;

/// Change to the slots of a header.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotChange<'a> {
    /// Keys to add. A slot that a key already has is replaced.
    pub add: &'a [Key],
    /// Key ids of the key slots and device slots to remove.
    pub drop: &'a [KeyId],
    /// Number of key slots to reserve space for if the header grows, so that keys can be
    /// added later without moving the stream.
    pub spare_slots: usize,
}

/// Reason why slots could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The header cannot be opened or built.
    #[error(transparent)]
    Seal(#[from] Error),
    /// The key to drop has no slot.
    #[error("cannot drop key {0}: it has no slot")]
    NoSlot(KeyId),
    /// The same key is to be added and dropped.
    #[error("key {0} is both added and dropped")]
    AddedAndDropped(KeyId),
    /// No slot would remain, so that the file could not be opened again.
    #[error("the last slot is not dropped: the file could not be opened again")]
    LastSlot,
}

impl Coded for RekeyError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Seal(error) => error.code(),
            Self::NoSlot(_) => ErrorCode::NotFound,
            Self::AddedAndDropped(_) | Self::LastSlot => ErrorCode::Usage,
        }
    }
}

/// Returns a copy of `header` with changed slots. The header is unlocked with one of
/// `keys`. The associated data of the stream, other slots and other fields do not change.
/// If possible, the new header has the same length as `header`, with a padding field that
/// readers ignore; otherwise it is longer.
///
/// # Errors
/// [`RekeyError::Seal`] with an error of [`Header::unlock`], with [`Error::Malformed`] if
/// the header would be longer than 65536 bytes, or with [`Error::Random`];
/// [`RekeyError::NoSlot`], [`RekeyError::AddedAndDropped`], [`RekeyError::LastSlot`].
pub fn rekey(header: &Header, keys: &[Key], change: &SlotChange<'_>) -> Result<Header, RekeyError> {
    let file_key = header.file_key(keys)?;
    let mut fields = header.fields()?;
    if let Some(both) = change.add.iter().map(Key::id).find(|id| change.drop.contains(id)) {
        return Err(RekeyError::AddedAndDropped(both));
    }
    for id in change.drop {
        if !remove(&mut fields, *id) {
            return Err(RekeyError::NoSlot(*id));
        }
    }
    for key in change.add {
        remove(&mut fields, key.id());
        fields.key_slots.push(KeySlot::wrap(&file_key, key, header.file_id())?);
    }
    if fields.key_slots.is_empty() && fields.device_slots.is_empty() {
        return Err(RekeyError::LastSlot);
    }
    pad(&mut fields, header.as_bytes().len(), change.spare_slots)?;
    let plaintext_len = header.plaintext_len();
    let unlocked = Header::build(*header.layout(), plaintext_len, header.file_id(), &file_key, &fields)?;
    Ok(unlocked.header().clone())
}

/// Removes the slots of the key. Returns false if there were none.
fn remove(fields: &mut Fields, id: KeyId) -> bool {
    let count = |fields: &Fields| fields.key_slots.len() + fields.device_slots.len();
    let before = count(fields);
    fields.key_slots.retain(|slot| slot.key_id != id);
    fields.device_slots.retain(|device| device.slot.key_id != id);
    count(fields) < before
}

/// Adds padding so that the header has `header_len` bytes or, if the fields do not fit,
/// space for `spare_slots`.
fn pad(fields: &mut Fields, header_len: usize, spare_slots: usize) -> Result<(), Error> {
    fields.unknown.retain(|(kind, value)| *kind != PADDING || value.iter().any(|byte| *byte != 0));
    // A field of this type with another value is kept. It must not be repeated, so there is no padding then.
    if fields.unknown.iter().any(|(kind, _)| *kind == PADDING) {
        return Ok(());
    }
    let bare_len = FIXED_LEN + fields.to_bytes()?.len() + MAC_LEN;
    let pad_len = match header_len.checked_sub(bare_len) {
        Some(0) => 0,
        Some(room) if room >= FIELD_HEAD_LEN => room,
        _ => (spare_slots * SLOT_FIELD_LEN).min(HEADER_LEN.end().saturating_sub(bare_len)),
    };
    fields.unknown.extend(padding(pad_len));
    Ok(())
}

/// Returns a padding field that reserves space for `slots` key slots, or `None` for 0.
pub(crate) fn spare_slots_field(slots: usize) -> Option<(u8, Vec<u8>)> {
    padding(slots * SLOT_FIELD_LEN)
}

/// Returns a padding field of `len` bytes, or `None` if `len` is too small for a field.
fn padding(len: usize) -> Option<(u8, Vec<u8>)> {
    Some((PADDING, vec![0; len.checked_sub(FIELD_HEAD_LEN)?]))
}

#[cfg(test)]
mod tests;
