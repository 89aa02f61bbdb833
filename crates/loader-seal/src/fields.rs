//! Fields of a header: slots and metadata (crates/loader-seal/README.md, "Fields").

use crate::Error;
use crate::slot::{DeviceSlot, KeySlot};
use loader_model::Description;

const KEY_SLOT: u8 = 0x01;
const DEVICE_SLOT: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const NAME: u8 = 0x04;
const RELEASE: u8 = 0x05;
const IMAGES: u8 = 0x06;
const ENCODING: u8 = 0x07;
const COMMENT: u8 = 0x80;
const CONTENT_LEN: u8 = 0x81;
const STREAM_LEN: u8 = 0x82;

/// Lowest type that readers skip if they do not know it.
const FIRST_OPTIONAL: u8 = 0x80;

/// Number of bytes before the value of a field: type 1, length 2.
pub(crate) const FIELD_HEAD_LEN: usize = 3;

/// Description of the content, and how the stream contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Description by the publisher.
    pub description: Description,
    /// Encoding of the content in the stream, such as `zstd`; none if the plaintext of the
    /// stream is the content.
    pub encoding: Option<String>,
    /// Comment for people.
    pub comment: Option<String>,
    /// Length of the content in bytes, if it is encoded and its length was known before.
    pub content_len: Option<u64>,
    /// Length in bytes of everything after the header, if it is known and does not follow
    /// from the length of the plaintext; 0 if it is not known.
    pub stream_len: Option<u64>,
}

/// All fields of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) key_slots: Vec<KeySlot>,
    pub(crate) device_slots: Vec<DeviceSlot>,
    pub(crate) metadata: Metadata,
    /// Type and value of optional fields that this version does not know. They are kept
    /// when the header is rewritten.
    pub(crate) unknown: Vec<(u8, Vec<u8>)>,
}

impl Fields {
    /// Encodes the fields in ascending order of type.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a value is longer than 65535 bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let Metadata { description, encoding, comment, content_len, stream_len } = &self.metadata;
        let Description { content_type, name, release, images } = description;
        let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        let number = |number: &Option<u64>| number.map(|number| number.to_be_bytes().to_vec());
        let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
        all.extend(self.key_slots.iter().map(|slot| (KEY_SLOT, slot.to_value())));
        all.extend(self.device_slots.iter().map(|slot| (DEVICE_SLOT, slot.to_value())));
        let single = [
            (CONTENT_TYPE, text(content_type)),
            (NAME, text(name)),
            (RELEASE, number(release)),
            (IMAGES, text(images)),
            (ENCODING, text(encoding)),
            (COMMENT, text(comment)),
            (CONTENT_LEN, number(content_len)),
            (STREAM_LEN, number(stream_len)),
        ];
        all.extend(single.into_iter().filter_map(|(kind, value)| Some((kind, value?))));
        all.extend(self.unknown.iter().cloned());
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

    /// Parses the fields and checks their order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an unknown required type, a wrong order, a repetition or
    /// an invalid value; [`Error::HeaderTampered`] for a wrong length.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Self::default();
        let mut previous = 0;
        for entry in walk(bytes) {
            let (kind, value) = entry.ok_or(Error::HeaderTampered)?;
            let repeats = matches!(kind, KEY_SLOT | DEVICE_SLOT);
            if kind < previous || (kind == previous && !repeats) || kind == 0 {
                return Err(unsupported("order of the fields", kind));
            }
            previous = kind;
            fields.add(kind, value)?;
        }
        Ok(fields)
    }

    fn add(&mut self, kind: u8, value: &[u8]) -> Result<(), Error> {
        let bad = || unsupported("value of field", kind);
        let text = || String::from_utf8(value.to_vec()).map_err(|_| bad());
        let number = || value.try_into().map(u64::from_be_bytes).map_err(|_| bad());
        let metadata = &mut self.metadata;
        let description = &mut metadata.description;
        match kind {
            KEY_SLOT => self.key_slots.push(KeySlot::from_value(value).ok_or_else(bad)?),
            DEVICE_SLOT => self.device_slots.push(DeviceSlot::from_value(value).ok_or_else(bad)?),
            CONTENT_TYPE => description.content_type = Some(text()?),
            NAME => description.name = Some(text()?),
            RELEASE => description.release = Some(number()?),
            IMAGES => description.images = Some(text()?),
            ENCODING => metadata.encoding = Some(text()?),
            COMMENT => metadata.comment = Some(text()?),
            CONTENT_LEN => metadata.content_len = Some(number()?),
            STREAM_LEN => metadata.stream_len = Some(number()?),
            kind if kind >= FIRST_OPTIONAL => self.unknown.push((kind, value.to_vec())),
            _ => return Err(unsupported("field", kind)),
        }
        Ok(())
    }

    /// Returns the length of the stream in fields that are not verified yet, if it is known.
    pub(crate) fn stream_len(bytes: &[u8]) -> Option<u64> {
        let mut fields = walk(bytes).flatten();
        let (_, value) = fields.find(|(kind, _)| *kind == STREAM_LEN)?;
        value.try_into().map(u64::from_be_bytes).ok().filter(|len| *len > 0)
    }

    /// Returns the slots in fields that are not verified yet. Skips invalid fields, which
    /// are reported after the MAC was checked.
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

fn unsupported(what: &str, kind: u8) -> Error {
    Error::Unsupported(format!("{what} {kind:#04x} in the header"))
}

/// Returns type and value of each field, and `None` as the last item if a length is wrong.
fn walk(mut rest: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = (rest.len() >= FIELD_HEAD_LEN).then(|| {
            let len = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            Some((rest[0], rest.get(FIELD_HEAD_LEN..FIELD_HEAD_LEN + len)?))
        });
        let entry = entry.flatten();
        rest = entry.map_or(&[], |(_, value)| &rest[FIELD_HEAD_LEN + value.len()..]);
        Some(entry)
    })
}
