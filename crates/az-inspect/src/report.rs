//! The header as a JSON document.

use crate::packed::{PackedReport, StatementReport};
use crate::parts::PartsReport;
use loader_model::Description;
use loader_seal::device::SealedKind;
use loader_seal::{DeviceSlot, Header, Metadata, STREAM_HEADER_LEN};
use serde::Serialize;
use serde_json::Value;

/// Output of az-inspect. Sizes are in bytes; unknown values are skipped.
#[derive(Serialize)]
pub(crate) struct HeaderReport {
    verified: bool,
    version: u32,
    suite: &'static str,
    segment_size: usize,
    header_size: usize,
    file_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<StatementReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<PartsReport>,
    key_slots: Vec<String>,
    device_slots: Vec<DeviceSlotReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
struct DeviceSlotReport {
    key_id: String,
    kind: &'static str,
    memory_kib: u32,
    passes: u32,
    lanes: u8,
    device_secret: bool,
}

impl HeaderReport {
    /// Creates the report on `header`. `file_len` is the length of the file in bytes, if it
    /// is known; `packed` is `None` if the header was not verified.
    pub(crate) fn new(
        header: &Header,
        metadata: &Metadata,
        parts: Option<PartsReport>,
        file_len: Option<u64>,
        packed: Option<PackedReport>,
    ) -> Self {
        let Metadata { description, encoding, comment, content_len, .. } = metadata.clone();
        let Description { content_type, name, release, images } = description;
        let sealed_size = header.sealed_len();
        // If the input ends after the headers, it is not the complete file.
        let file_size = file_len.filter(|len| *len > (header.as_bytes().len() + STREAM_HEADER_LEN) as u64);
        let verified = packed.is_some();
        let PackedReport { statement, is_complete, .. } = packed.unwrap_or_default();
        let content_size = statement.as_ref().map(|statement| statement.content_size).or(content_len);
        let complete = is_complete.or(sealed_size.zip(file_len).map(|(sealed, file)| sealed == file));
        let is_whole = parts.is_none() && complete != Some(false);
        let sizes = file_size.zip(content_size).filter(|(_, content)| is_whole && *content > 0);
        Self {
            verified,
            version: 1,
            suite: header.suite().name(),
            segment_size: header.segment_len(),
            header_size: header.as_bytes().len(),
            file_id: hex::encode(header.file_id()),
            plaintext_size: header.plaintext_len(),
            sealed_size,
            file_size,
            complete,
            encoding,
            content_size,
            ratio: sizes.map(|(file, content)| (file as f64 / content as f64 * 1000.0).round() / 1000.0),
            statement,
            parts,
            key_slots: header.key_slots().iter().map(|slot| slot.key_id.to_string()).collect(),
            device_slots: header.device_slots().iter().map(DeviceSlotReport::new).collect(),
            content_type,
            name,
            release,
            images: images.map(|json| serde_json::from_str(&json).unwrap_or(Value::String(json))),
            comment,
        }
    }
}

impl DeviceSlotReport {
    fn new(device: &DeviceSlot) -> Self {
        Self {
            key_id: device.slot.key_id.to_string(),
            kind: match device.kind {
                SealedKind::SmallPart => "small-part",
                SealedKind::Cdn => "cdn",
                SealedKind::Fragment => "fragment",
            },
            memory_kib: device.cost.memory_kib,
            passes: device.cost.passes,
            lanes: device.cost.lanes,
            device_secret: device.uses_secret,
        }
    }
}
