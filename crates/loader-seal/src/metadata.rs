//! What a header says beside the sizes: slots, names, images (TLVs).

use crate::Error;
use crate::slot::{DeviceSlot, KeySlot};

const KEY_SLOT: u8 = 0x01;
const DEVICE_SLOT: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const NAME: u8 = 0x04;
const RELEASE: u8 = 0x05;
const IMAGES: u8 = 0x06;
const COMMENT: u8 = 0x80;

/// First type that may be ignored when it is not known.
const OPTIONAL: u8 = 0x80;

/// Bytes of a TLV before its value: type, length.
const TL_LEN: usize = 3;

/// What the publisher says of the content. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Media type of the plaintext, such as `application/x-docker-archive`.
    pub content_type: Option<String>,
    /// `folder/name` of the resource.
    pub name: Option<String>,
    /// Number of the release; only ever grows for one name.
    pub release: Option<u64>,
    /// The images in the archive as a JSON list.
    pub images: Option<String>,
    /// A remark.
    pub comment: Option<String>,
}

/// All TLVs of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tlvs {
    pub(crate) key_slots: Vec<KeySlot>,
    pub(crate) device_slots: Vec<DeviceSlot>,
    pub(crate) metadata: Metadata,
    /// TLVs of an optional type that this version does not know, kept for a rewrite.
    pub(crate) others: Vec<(u8, Vec<u8>)>,
}

impl Tlvs {
    /// The TLVs as bytes, in ascending order of type.
    ///
    /// # Errors
    /// [`Error::Malformed`] where a value is longer than 65535 bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let Metadata { content_type, name, release, images, comment } = &self.metadata;
        let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
        all.extend(self.key_slots.iter().map(|slot| (KEY_SLOT, slot.to_value())));
        all.extend(self.device_slots.iter().map(|slot| (DEVICE_SLOT, slot.to_value())));
        let single = [
            (CONTENT_TYPE, text(content_type)),
            (NAME, text(name)),
            (RELEASE, release.map(|release| release.to_be_bytes().to_vec())),
            (IMAGES, text(images)),
            (COMMENT, text(comment)),
        ];
        all.extend(single.into_iter().filter_map(|(kind, value)| Some((kind, value?))));
        all.extend(self.others.iter().cloned());
        all.sort_by_key(|(kind, _)| *kind);
        let mut bytes = Vec::new();
        for (kind, value) in all {
            let len = u16::try_from(value.len()).map_err(|_| Error::malformed("a field of the header is too long"))?;
            bytes.push(kind);
            bytes.extend(len.to_be_bytes());
            bytes.extend(value);
        }
        Ok(bytes)
    }

    /// Reads the TLVs by every rule of the format.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a type, order, repetition or value that this
    /// version does not know; [`Error::HeaderTampered`] where a length does not fit.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut tlvs = Self::default();
        let mut previous = 0;
        for entry in walk(bytes) {
            let (kind, value) = entry.ok_or(Error::HeaderTampered)?;
            let repeats = matches!(kind, KEY_SLOT | DEVICE_SLOT);
            if kind < previous || (kind == previous && !repeats) || kind == 0 {
                return Err(unknown("order of the fields", kind));
            }
            previous = kind;
            tlvs.take(kind, value)?;
        }
        Ok(tlvs)
    }

    fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), Error> {
        let bad = || unknown("value of field", kind);
        let text = || String::from_utf8(value.to_vec()).map_err(|_| bad());
        let metadata = &mut self.metadata;
        match kind {
            KEY_SLOT => self.key_slots.push(KeySlot::from_value(value).ok_or_else(bad)?),
            DEVICE_SLOT => self.device_slots.push(DeviceSlot::from_value(value).ok_or_else(bad)?),
            CONTENT_TYPE => metadata.content_type = Some(text()?),
            NAME => metadata.name = Some(text()?),
            RELEASE => metadata.release = Some(u64::from_be_bytes(value.try_into().map_err(|_| bad())?)),
            IMAGES => metadata.images = Some(text()?),
            COMMENT => metadata.comment = Some(text()?),
            kind if kind >= OPTIONAL => self.others.push((kind, value.to_vec())),
            _ => return Err(unknown("field", kind)),
        }
        Ok(())
    }

    /// The slots alone, from TLVs that are not verified yet; what cannot be read
    /// is passed over, and the MAC decides.
    pub(crate) fn slots(bytes: &[u8]) -> (Vec<KeySlot>, Vec<DeviceSlot>) {
        let (mut keys, mut devices) = (Vec::new(), Vec::new());
        for (kind, value) in walk(bytes).flatten() {
            match kind {
                KEY_SLOT => keys.extend(KeySlot::from_value(value)),
                DEVICE_SLOT => devices.extend(DeviceSlot::from_value(value)),
                _ => {}
            }
        }
        (keys, devices)
    }
}

fn unknown(what: &str, kind: u8) -> Error {
    Error::Unsupported(format!("{what} {kind:#04x} in the header"))
}

/// Type and value of each TLV; a last `None` where the bytes do not add up.
fn walk(mut rest: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = (rest.len() >= TL_LEN).then(|| {
            let len = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            Some((rest[0], rest.get(TL_LEN..TL_LEN + len)?))
        });
        let entry = entry.flatten();
        rest = entry.map_or(&[], |(_, value)| &rest[TL_LEN + value.len()..]);
        Some(entry)
    })
}
