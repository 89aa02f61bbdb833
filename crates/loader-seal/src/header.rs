//! The header of a sealed file: fixed part, fields and MAC
//! (crates/loader-seal/README.md, "The file").

use crate::fields::Fields;
use crate::key::{KeyId, hkdf};
use crate::layout::{ASSOCIATED_DATA_LEN, FIXED_LEN, HEADER_LEN, MAC_LEN, MAGIC, SEGMENT_LOG2, StreamLayout};
use crate::slot::FileKey;
use crate::{DeviceSlot, Error, Key, KeySlot, Metadata, Suite};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::Read;
use zeroize::Zeroizing;

/// A header that was read but not verified: its fixed part and its slots are parsed.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: Vec<u8>,
    fixed: FixedPart,
    /// Length of the stream in the fields.
    stream_len: Option<u64>,
    key_slots: Vec<KeySlot>,
    device_slots: Vec<DeviceSlot>,
}

/// The first [`FIXED_LEN`] bytes of a header, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FixedPart {
    layout: StreamLayout,
    plaintext_len: Option<u64>,
    file_id: [u8; 16],
}

impl FixedPart {
    /// Parses the fixed part. The caller has checked the magic.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for version, suite, flags, segment length or header
    /// length, in this order.
    fn parse(bytes: &[u8; FIXED_LEN]) -> Result<Self, Error> {
        let unsupported = |what: String| Err(Error::Unsupported(what));
        let [version, suite, flags, segment_log2] = array_of::<8, 4>(bytes);
        if version != VERSION {
            return unsupported(format!("version {version} of the format"));
        }
        let suite = Suite::from_byte(suite)?;
        let declared = u64::from_be_bytes(array_of::<12, 8>(bytes));
        let plaintext_len = match flags {
            0 if declared == u64::MAX => None,
            1 => Some(declared),
            0 => return unsupported("a plaintext length without its flag".to_owned()),
            flags => return unsupported(format!("flags {flags:#04x}")),
        };
        if !SEGMENT_LOG2.contains(&segment_log2) {
            return unsupported(format!("segment length 2^{segment_log2}"));
        }
        let header_len = u32::from_be_bytes(array_of::<36, 4>(bytes)) as usize;
        if !HEADER_LEN.contains(&header_len) {
            return unsupported(format!("header length {header_len}"));
        }
        let layout = StreamLayout { suite, segment_len: 1 << segment_log2, header_len };
        Ok(Self { layout, plaintext_len, file_id: array_of::<20, 16>(bytes) })
    }

    fn to_bytes(&self) -> [u8; FIXED_LEN] {
        let mut bytes = [0; FIXED_LEN];
        let segment_log2 = self.layout.segment_len.trailing_zeros() as u8;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&[
            VERSION,
            self.layout.suite.to_byte(),
            u8::from(self.plaintext_len.is_some()),
            segment_log2,
        ]);
        bytes[12..20].copy_from_slice(&self.plaintext_len.unwrap_or(u64::MAX).to_be_bytes());
        bytes[20..36].copy_from_slice(&self.file_id);
        bytes[36..].copy_from_slice(&(self.layout.header_len as u32).to_be_bytes());
        bytes
    }
}

/// Returns the `N` bytes from offset `AT` on. The compiler checks the bounds.
fn array_of<const AT: usize, const N: usize>(bytes: &[u8; FIXED_LEN]) -> [u8; N] {
    const { assert!(AT + N <= FIXED_LEN, "outside the fixed part") };
    let mut array = [0; N];
    array.copy_from_slice(&bytes[AT..AT + N]);
    array
}

/// Version of the format.
const VERSION: u8 = 1;

/// A header whose MAC was verified, and the key of its stream.
pub struct Unlocked {
    header: Header,
    metadata: Metadata,
    stream_key: Zeroizing<[u8; 32]>,
}

impl Header {
    /// Reads a header, at most 64 KiB, and stops before the first byte of the stream.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::Unsupported`] (version, suite, flags,
    /// segment length, header length, in this order), [`Error::Truncated`],
    /// [`Error::Read`].
    pub fn read(input: &mut impl Read) -> Result<Self, Error> {
        let mut fixed_bytes = [0; FIXED_LEN];
        let got = read_full(input, &mut fixed_bytes)?;
        let compared = got.min(MAGIC.len());
        if got == 0 || fixed_bytes[..compared] != MAGIC[..compared] {
            // More bytes allow a better guess: a tar has its magic at byte 257.
            let mut head = fixed_bytes[..got].to_vec();
            head.resize(DETECTION_LEN, 0);
            let got = got + read_full(input, &mut head[got..])?;
            return Err(Error::NotSealed { looks_like: looks_like(&head[..got]) });
        }
        if got < FIXED_LEN {
            return Err(truncated_header(got));
        }
        let fixed = FixedPart::parse(&fixed_bytes)?;
        let header_len = fixed.layout.header_len;
        let mut bytes = fixed_bytes.to_vec();
        bytes.resize(header_len, 0);
        let more = read_full(input, &mut bytes[FIXED_LEN..])?;
        if FIXED_LEN + more < header_len {
            return Err(truncated_header(FIXED_LEN + more));
        }
        let fields = &bytes[FIXED_LEN..header_len - MAC_LEN];
        let ((key_slots, device_slots), stream_len) = (Fields::slots(fields), Fields::stream_len(fields));
        Ok(Self { bytes, fixed, stream_len, key_slots, device_slots })
    }

    /// Builds a header with its MAC. The header length in `layout` is ignored.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the header would be longer than 65536 bytes.
    pub(crate) fn build(
        layout: StreamLayout,
        plaintext_len: Option<u64>,
        file_id: &[u8; 16],
        file_key: &FileKey,
        fields: &Fields,
    ) -> Result<Unlocked, Error> {
        let field_bytes = fields.to_bytes()?;
        let header_len = FIXED_LEN + field_bytes.len() + MAC_LEN;
        if !HEADER_LEN.contains(&header_len) {
            return Err(Error::malformed("the header would be longer than 65536 bytes"));
        }
        let layout = StreamLayout { header_len, ..layout };
        let fixed = FixedPart { layout, plaintext_len, file_id: *file_id };
        let mut bytes = Vec::with_capacity(header_len);
        bytes.extend(fixed.to_bytes());
        bytes.extend(field_bytes);
        bytes.extend(header_mac(file_key, &bytes).finalize().into_bytes());
        let header = Self {
            bytes,
            fixed,
            stream_len: fields.metadata.stream_len.filter(|len| *len > 0),
            key_slots: fields.key_slots.clone(),
            device_slots: fields.device_slots.clone(),
        };
        Ok(Unlocked { header, metadata: fields.metadata.clone(), stream_key: stream_key(file_key) })
    }

    /// Unwraps the file key with one of `keys`, verifies the MAC, and parses the fields.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if there is no slot for any of the keys;
    /// [`Error::HeaderTampered`]; [`Error::Unsupported`] for unknown fields.
    pub fn unlock(self, keys: &[Key]) -> Result<Unlocked, Error> {
        let file_key = self.file_key(keys)?;
        let fields = self.fields()?;
        Ok(Unlocked { metadata: fields.metadata, stream_key: stream_key(&file_key), header: self })
    }

    /// Unwraps the file key with one of `keys` and verifies the MAC with it.
    ///
    /// # Errors
    /// [`Error::WrongKey`], [`Error::HeaderTampered`].
    pub(crate) fn file_key(&self, keys: &[Key]) -> Result<FileKey, Error> {
        let mut candidates = keys.iter().flat_map(|key| {
            let id = key.id();
            self.all_slots().filter(move |slot| slot.key_id == id).map(move |slot| (slot, key))
        });
        let Some(first) = candidates.next() else {
            let held = keys.iter().map(Key::id).collect();
            return Err(Error::WrongKey { held, slots: self.key_ids().collect() });
        };
        std::iter::once(first)
            .chain(candidates)
            .map(|(slot, key)| slot.unwrap(key, self.file_id()))
            .find(|file_key| self.verify_mac(file_key))
            .ok_or(Error::HeaderTampered)
    }

    /// Parses the fields without verifying the MAC.
    ///
    /// # Errors
    /// [`Error::Unsupported`] or [`Error::HeaderTampered`] if they cannot be parsed.
    pub(crate) fn fields(&self) -> Result<Fields, Error> {
        Fields::parse(&self.bytes[FIXED_LEN..self.bytes.len() - MAC_LEN])
    }

    /// Parses the metadata without verifying the MAC.
    ///
    /// # Errors
    /// [`Error::Unsupported`] or [`Error::HeaderTampered`] if the fields cannot be
    /// parsed.
    pub fn unverified_metadata(&self) -> Result<Metadata, Error> {
        Ok(self.fields()?.metadata)
    }

    /// Returns the bytes of the header.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the cipher of the stream.
    pub fn suite(&self) -> Suite {
        self.fixed.layout.suite
    }

    /// Returns the length of a full segment in bytes.
    pub fn segment_len(&self) -> usize {
        self.fixed.layout.segment_len
    }

    /// Returns the length of the plaintext in bytes, if the header declares it.
    pub fn plaintext_len(&self) -> Option<u64> {
        self.fixed.plaintext_len
    }

    /// Returns the length of the sealed file in bytes, if the header declares the length
    /// of the plaintext or of the stream.
    pub fn sealed_len(&self) -> Option<u64> {
        match self.plaintext_len() {
            Some(len) => self.layout().sealed_len(len),
            None => (self.bytes.len() as u64).checked_add(self.stream_len?),
        }
    }

    /// Returns the random id of the file.
    pub fn file_id(&self) -> &[u8; 16] {
        &self.fixed.file_id
    }

    /// Returns the key slots.
    pub fn key_slots(&self) -> &[KeySlot] {
        &self.key_slots
    }

    /// Returns the device slots.
    pub fn device_slots(&self) -> &[DeviceSlot] {
        &self.device_slots
    }

    pub(crate) fn layout(&self) -> &StreamLayout {
        &self.fixed.layout
    }

    /// Returns the associated data of the stream: the fixed part without the header
    /// length.
    pub(crate) fn associated_data(&self) -> [u8; ASSOCIATED_DATA_LEN] {
        array_of::<0, ASSOCIATED_DATA_LEN>(&self.fixed.to_bytes())
    }

    fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.all_slots().map(|slot| slot.key_id)
    }

    fn all_slots(&self) -> impl Iterator<Item = &KeySlot> {
        self.key_slots.iter().chain(self.device_slots.iter().map(|device| &device.slot))
    }

    fn verify_mac(&self, file_key: &FileKey) -> bool {
        let (text, mac) = self.bytes.split_at(self.bytes.len() - MAC_LEN);
        header_mac(file_key, text).verify_slice(mac).is_ok()
    }
}

impl Unlocked {
    /// Returns the verified header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the verified metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn stream_key(&self) -> &[u8; 32] {
        &self.stream_key
    }
}

/// Reads until `buffer` is full or the input ends. Returns the number of bytes.
///
/// # Errors
/// [`Error::Read`].
pub(crate) fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    loader_pipe::read_full(input, buffer).map_err(Error::Read)
}

fn truncated_header(at: usize) -> Error {
    Error::Truncated { at: at as u64, inside: "the header".to_owned() }
}

fn header_mac(file_key: &FileKey, text: &[u8]) -> Hmac<Sha256> {
    let key = hkdf::<32>(file_key.as_slice(), b"", &[b"azs/v1/header"]);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn stream_key(file_key: &FileKey) -> Zeroizing<[u8; 32]> {
    hkdf(file_key.as_slice(), b"", &[b"azs/v1/stream"])
}

/// Number of bytes that are used to detect the type of an input that is not sealed.
const DETECTION_LEN: usize = 512;

/// Description of an empty input.
pub(crate) const EMPTY: &str = "the input is empty";

/// File type that is detected by its first bytes.
struct Signature {
    prefix: &'static [u8],
    description: &'static str,
}

const fn signature(prefix: &'static [u8], description: &'static str) -> Signature {
    Signature { prefix, description }
}

/// Known file types; the first match is used.
const SIGNATURES: [Signature; 20] = [
    signature(b"\x1f\x8b", "it looks like gzip"),
    signature(b"\x28\xb5\x2f\xfd", "it looks like zstd"),
    signature(b"\xfd7zXZ", "it looks like xz"),
    signature(b"BZh", "it looks like bzip2"),
    signature(b"age-encryption.org/", "it looks like an age file"),
    signature(b"-----BEGIN AGE ENCRYPTED", "it looks like an armored age file"),
    signature(b"-----BEGIN PGP", "it looks like OpenPGP"),
    signature(b"\x85\x02", "it looks like OpenPGP"),
    signature(b"\x8c", "it looks like OpenPGP"),
    signature(b"Salted__", "it looks like openssl enc"),
    signature(b"PK\x03\x04", "it looks like zip"),
    signature(b"{\"parts\":", "it looks like a published small part; join it with its big part first"),
    signature(b"AZ-SECRET-KEY-1", "it looks like a key or a fragment"),
    signature(b"AZ-FRAG-1", "it looks like a key or a fragment"),
    signature(b"<", "it looks like HTML or XML"),
    signature(b"{", "it looks like JSON"),
    signature(b"[", "it looks like JSON"),
    signature(b"\x89AZS", DAMAGED_BY_TEXT_MODE),
    signature(b"\x09AZS", DAMAGED_BY_TEXT_MODE),
    signature(b"\xc2\x89AZS", DAMAGED_BY_TEXT_MODE),
];

const DAMAGED_BY_TEXT_MODE: &str = "a sealed file damaged by a text-mode copy";

/// Describes the likely type of a file that starts with `head`.
fn looks_like(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return EMPTY;
    }
    // Checked first: the name of the first member can match any signature.
    if head.get(257..262) == Some(b"ustar") {
        return "it looks like a plain tar";
    }
    let matching = SIGNATURES.iter().find(|signature| head.starts_with(signature.prefix));
    matching.map_or("unknown file type", |signature| signature.description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SealOptions, seal};

    #[test]
    fn fixed_part_round_trips() {
        for (suite, plaintext_len) in [(Suite::AesCtrHmac, None), (Suite::AesGcm, Some(0)), (Suite::AesGcm, Some(9))] {
            let layout = StreamLayout { suite, segment_len: 1 << 20, header_len: 139 };
            let fixed = FixedPart { layout, plaintext_len, file_id: std::array::from_fn(|i| i as u8) };
            assert_eq!(FixedPart::parse(&fixed.to_bytes()).unwrap(), fixed);
        }
    }

    #[test]
    fn type_of_unsealed_input_is_detected() {
        let tar: Vec<u8> = b"<name>".iter().copied().chain([0; 251]).chain(*b"ustar").collect();
        let heads: [(&[u8], &str); 24] = [
            (b"", "the input is empty"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\xfd7zXZ\0", "xz"),
            (b"BZh9", "bzip2"),
            (b"age-encryption.org/v1", "an age file"),
            (b"-----BEGIN AGE ENCRYPTED FILE-----", "an armored age file"),
            (b"-----BEGIN PGP MESSAGE-----", "OpenPGP"),
            (b"\x85\x02\x0c", "OpenPGP"),
            (b"\x8c\x0d", "OpenPGP"),
            (b"Salted__12345678", "openssl enc"),
            (b"PK\x03\x04", "zip"),
            (b"{\"parts\":[]}", "a published small part; join it with its big part first"),
            (b"AZ-SECRET-KEY-1Q", "a key or a fragment"),
            (b"AZ-FRAG-1Q", "a key or a fragment"),
            (b"<html>", "HTML or XML"),
            (b"{\"error\":1}", "JSON"),
            (b"[1]", "JSON"),
            (&tar, "a plain tar"),
            (&tar[..261], "HTML or XML"),
            (b"\x89AZS\n\x1a\n", "damaged by a text-mode copy"),
            (b"\x09AZS\r\n", "damaged by a text-mode copy"),
            (b"\xc2\x89AZS\r\n", "damaged by a text-mode copy"),
            (b"hello", "unknown file type"),
        ];
        for (head, kind) in heads {
            let Err(Error::NotSealed { looks_like }) = Header::read(&mut &*head) else { panic!("{kind}") };
            assert_eq!(Error::NotSealed { looks_like }.is_empty_input(), head.is_empty());
            assert!(looks_like == kind || looks_like.ends_with(&format!(" {kind}")), "{looks_like}: {kind}");
        }
    }

    #[test]
    fn truncated_header_error_contains_offset() {
        let key = Key::generate().unwrap();
        let metadata = Metadata { comment: Some("a".to_owned()), ..Metadata::default() };
        let options = SealOptions { metadata: metadata.clone(), ..SealOptions::default() };
        let mut file = Vec::new();
        let (header, _) = seal(&mut std::io::empty(), &mut file, std::slice::from_ref(&key), &options).unwrap();
        for at in 1..header.as_bytes().len() {
            match Header::read(&mut &file[..at]) {
                Err(Error::Truncated { at: reported, inside }) => {
                    assert_eq!((reported, inside.as_str()), (at as u64, "the header"));
                }
                other => panic!("{at}: {other:?}"),
            }
        }
        let read = Header::read(&mut &file[..header.as_bytes().len()]).unwrap();
        assert_eq!(*read.unlock(&[key]).unwrap().metadata(), metadata);
    }
}
