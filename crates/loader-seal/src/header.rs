//! The header: everything before the stream.

use crate::key::{KeyId, hkdf};
use crate::layout::{BOUND_LEN, FIXED_LEN, HEADER_LEN, Layout, MAC_LEN, MAGIC, SEGMENT_LOG2};
use crate::metadata::Tlvs;
use crate::slot::FileKey;
use crate::{DeviceSlot, Error, Key, KeySlot, Metadata, Suite};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// A header as read: its fixed part and its slots are known, nothing is verified.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: Vec<u8>,
    layout: Layout,
    plaintext_len: Option<u64>,
    key_slots: Vec<KeySlot>,
    device_slots: Vec<DeviceSlot>,
}

/// A header whose MAC was checked with a key that opens the file, and the key of
/// its stream.
pub struct Unlocked {
    header: Header,
    metadata: Metadata,
    stream_key: Zeroizing<[u8; 32]>,
}

impl Header {
    /// Reads a header, up to the first byte of the stream. At most 64 KiB.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::Unsupported`] (version, suite, flags,
    /// segment length, header length, in this order), [`Error::Truncated`],
    /// [`Error::Read`].
    pub fn read(input: &mut impl Read) -> Result<Self, Error> {
        let mut bytes = vec![0; FIXED_LEN];
        let got = read_up_to(input, &mut bytes)?;
        let compared = got.min(MAGIC.len());
        if got == 0 || bytes[..compared] != MAGIC[..compared] {
            // More of it tells better what it is; a tar says so at byte 257.
            bytes.resize(LOOK_LEN, 0);
            let got = got + read_up_to(input, &mut bytes[got..])?;
            return Err(Error::NotSealed { looks_like: looks_like(&bytes[..got]) });
        }
        if got < FIXED_LEN {
            return Err(in_header(got));
        }
        let (layout, plaintext_len) = check_fixed(&bytes)?;
        bytes.resize(layout.header_len, 0);
        let more = read_up_to(input, &mut bytes[FIXED_LEN..])?;
        if FIXED_LEN + more < layout.header_len {
            return Err(in_header(FIXED_LEN + more));
        }
        let (key_slots, device_slots) = Tlvs::slots(&bytes[FIXED_LEN..layout.header_len - MAC_LEN]);
        Ok(Self { bytes, layout, plaintext_len, key_slots, device_slots })
    }

    /// Makes a header for a new file, with its MAC.
    pub(crate) fn build(
        layout: Layout,
        plaintext_len: Option<u64>,
        file_id: &[u8; 16],
        file_key: &FileKey,
        tlvs: &Tlvs,
    ) -> Result<Unlocked, Error> {
        let fields = tlvs.to_bytes()?;
        let header_len = FIXED_LEN + fields.len() + MAC_LEN;
        if !HEADER_LEN.contains(&header_len) {
            return Err(Error::malformed("the header would be longer than 65536 bytes"));
        }
        let layout = Layout { header_len, ..layout };
        let mut bytes = Vec::with_capacity(header_len);
        bytes.extend(MAGIC);
        bytes.extend([1, layout.suite.to_byte(), u8::from(plaintext_len.is_some())]);
        bytes.push(layout.segment_len.trailing_zeros() as u8);
        bytes.extend(plaintext_len.unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(file_id);
        bytes.extend((header_len as u32).to_be_bytes());
        bytes.extend(fields);
        bytes.extend(header_mac(file_key, &bytes).finalize().into_bytes());
        let header = Self {
            bytes,
            layout,
            plaintext_len,
            key_slots: tlvs.key_slots.clone(),
            device_slots: tlvs.device_slots.clone(),
        };
        Ok(Unlocked { header, metadata: tlvs.metadata.clone(), stream_key: stream_key(file_key) })
    }

    /// Finds a slot for one of `keys`, unwraps the file key, checks the MAC, then
    /// the fields.
    ///
    /// # Errors
    /// [`Error::WrongKey`] without such a slot, [`Error::HeaderTampered`],
    /// [`Error::Unsupported`] for fields this version does not know.
    pub fn unlock(self, keys: &[Key]) -> Result<Unlocked, Error> {
        let file_key = self.file_key(keys)?;
        let tlvs = self.tlvs()?;
        Ok(Unlocked { metadata: tlvs.metadata, stream_key: stream_key(&file_key), header: self })
    }

    /// The file key in a slot for one of `keys`, once the MAC was checked with it.
    pub(crate) fn file_key(&self, keys: &[Key]) -> Result<FileKey, Error> {
        let mut fitting = keys.iter().flat_map(|key| {
            let id = key.id();
            self.all_slots().filter(move |slot| slot.key_id == id).map(move |slot| (slot, key))
        });
        let Some(first) = fitting.next() else {
            let held = keys.iter().map(Key::id).collect();
            return Err(Error::WrongKey { held, slots: self.key_ids().collect() });
        };
        std::iter::once(first)
            .chain(fitting)
            .map(|(slot, key)| slot.unwrap(key, self.file_id()))
            .find(|file_key| self.mac_fits(file_key))
            .ok_or(Error::HeaderTampered)
    }

    /// The fields, by every rule of the format.
    pub(crate) fn tlvs(&self) -> Result<Tlvs, Error> {
        Tlvs::parse(self.fields())
    }

    /// What the fields say, without any check that they are genuine.
    ///
    /// # Errors
    /// [`Error::Unsupported`] or [`Error::HeaderTampered`] where they cannot be read.
    pub fn unverified_metadata(&self) -> Result<Metadata, Error> {
        Ok(self.tlvs()?.metadata)
    }

    /// The header's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The cipher of the stream.
    pub fn suite(&self) -> Suite {
        self.layout.suite
    }

    /// Length of a segment in bytes.
    pub fn segment_len(&self) -> usize {
        self.layout.segment_len
    }

    /// Length of the plaintext in bytes, where the header declares it.
    pub fn plaintext_len(&self) -> Option<u64> {
        self.plaintext_len
    }

    /// Length of the whole file in bytes, where the header declares that of the
    /// plaintext.
    pub fn sealed_len(&self) -> Option<u64> {
        self.layout.sealed_len(self.plaintext_len?)
    }

    /// The random id of the file.
    pub fn file_id(&self) -> &[u8; 16] {
        self.bytes[20..36].as_array().unwrap_or(&[0; 16])
    }

    /// The slots for keys.
    pub fn key_slots(&self) -> &[KeySlot] {
        &self.key_slots
    }

    /// The slots for devices.
    pub fn device_slots(&self) -> &[DeviceSlot] {
        &self.device_slots
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the stream is bound to: the header without header length and fields.
    pub(crate) fn bound(&self) -> &[u8; BOUND_LEN] {
        self.bytes[..BOUND_LEN].as_array().unwrap_or(&[0; BOUND_LEN])
    }

    fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.all_slots().map(|slot| slot.key_id)
    }

    fn all_slots(&self) -> impl Iterator<Item = &KeySlot> {
        self.key_slots.iter().chain(self.device_slots.iter().map(|device| &device.slot))
    }

    fn fields(&self) -> &[u8] {
        &self.bytes[FIXED_LEN..self.bytes.len() - MAC_LEN]
    }

    fn mac_fits(&self, file_key: &FileKey) -> bool {
        let (text, mac) = self.bytes.split_at(self.bytes.len() - MAC_LEN);
        header_mac(file_key, text).verify_slice(mac).is_ok()
    }
}

impl Unlocked {
    /// The verified header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the publisher said of the content, verified.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn stream_key(&self) -> &[u8; 32] {
        &self.stream_key
    }
}

/// Reads until `buffer` is full or the input ends; gives the bytes read. A reader
/// that would block is asked again.
pub(crate) fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    read_while_wanted(input, buffer, &AtomicBool::new(false))
}

/// The same, but gives up waiting for bytes once `stopped`.
pub(crate) fn read_while_wanted(
    input: &mut impl Read,
    buffer: &mut [u8],
    stopped: &AtomicBool,
) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
            Err(error) => return Err(Error::Read(error)),
        }
    }
    Ok(filled)
}

fn check_fixed(bytes: &[u8]) -> Result<(Layout, Option<u64>), Error> {
    let unsupported = |what: String| Err(Error::Unsupported(what));
    if bytes[8] != 1 {
        return unsupported(format!("version {} of the format", bytes[8]));
    }
    let suite = Suite::from_byte(bytes[9])?;
    let declared = u64::from_be_bytes(*bytes[12..20].as_array().unwrap_or(&[0; 8]));
    let plaintext_len = match bytes[10] {
        0 if declared == u64::MAX => None,
        1 => Some(declared),
        0 => return unsupported("a plaintext length without its flag".to_owned()),
        flags => return unsupported(format!("flags {flags:#04x}")),
    };
    if !SEGMENT_LOG2.contains(&bytes[11]) {
        return unsupported(format!("segment length 2^{}", bytes[11]));
    }
    let header_len = u32::from_be_bytes(*bytes[36..40].as_array().unwrap_or(&[0; 4])) as usize;
    if !HEADER_LEN.contains(&header_len) {
        return unsupported(format!("header length {header_len}"));
    }
    Ok((Layout { suite, segment_len: 1 << bytes[11], header_len }, plaintext_len))
}

fn in_header(at: usize) -> Error {
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

/// Bytes that are looked at to say what an input is that is not sealed.
const LOOK_LEN: usize = 512;

/// What no bytes at all look like.
pub(crate) const EMPTY: &str = "the input is empty";

/// What a head without the magic begins with, and what that looks like to a person;
/// the first that fits.
const KINDS: [(&[u8], &str); 20] = [
    (b"\x1f\x8b", "it looks like gzip"),
    (b"\x28\xb5\x2f\xfd", "it looks like zstd"),
    (b"\xfd7zXZ", "it looks like xz"),
    (b"BZh", "it looks like bzip2"),
    (b"age-encryption.org/", "it looks like an age file"),
    (b"-----BEGIN AGE ENCRYPTED", "it looks like an armored age file"),
    (b"-----BEGIN PGP", "it looks like OpenPGP"),
    (b"\x85\x02", "it looks like OpenPGP"),
    (b"\x8c", "it looks like OpenPGP"),
    (b"Salted__", "it looks like openssl enc"),
    (b"PK\x03\x04", "it looks like zip"),
    (b"{\"parts\":", "it looks like a published small part; join it with its big part first"),
    (b"AZ-SECRET-KEY-1", "it looks like a key or a fragment"),
    (b"AZ-FRAG-1", "it looks like a key or a fragment"),
    (b"<", "it looks like HTML or XML"),
    (b"{", "it looks like JSON"),
    (b"[", "it looks like JSON"),
    (b"\x89AZS", DAMAGED_BY_TEXT_MODE),
    (b"\x09AZS", DAMAGED_BY_TEXT_MODE),
    (b"\xc2\x89AZS", DAMAGED_BY_TEXT_MODE),
];

const DAMAGED_BY_TEXT_MODE: &str = "a sealed file damaged by a text-mode copy";

/// What bytes without the magic look like, for a person.
fn looks_like(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return EMPTY;
    }
    // Whatever its first file is called.
    if head.get(257..262) == Some(b"ustar") {
        return "it looks like a plain tar";
    }
    KINDS.iter().find(|(start, _)| head.starts_with(start)).map_or("no known kind of file", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SealOptions, seal};
    use std::collections::VecDeque;

    /// Gives its results one a read, then ends.
    struct Script(VecDeque<Result<&'static [u8], io::ErrorKind>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                None => Ok(0),
                Some(Err(kind)) => Err(kind.into()),
                Some(Ok(mut bytes)) => bytes.read(buffer),
            }
        }
    }

    fn script<const N: usize>(steps: [Result<&'static [u8], io::ErrorKind>; N]) -> Script {
        Script(steps.into())
    }

    #[test]
    fn a_read_goes_on_until_the_buffer_is_full_or_the_input_ends() {
        let mut buffer = [0; 6];
        let later = [Err(io::ErrorKind::Interrupted), Err(io::ErrorKind::WouldBlock)];
        let mut input = script([Ok(b"ab"), later[0], Ok(b"cd"), later[1], Ok(b"ef"), Err(io::ErrorKind::Other)]);
        assert_eq!(read_up_to(&mut input, &mut buffer).unwrap(), 6);
        assert_eq!(&buffer, b"abcdef");
        assert_eq!(input.0.len(), 1, "a full buffer asks for no more");
        assert_eq!(read_up_to(&mut script([Ok(b"xy"), later[1], later[0]]), &mut buffer).unwrap(), 2);
        assert_eq!(&buffer, b"xycdef");
        let broken = read_up_to(&mut script([Ok(b"ab"), Err(io::ErrorKind::Other)]), &mut buffer);
        assert!(matches!(broken, Err(Error::Read(error)) if error.kind() == io::ErrorKind::Other));
    }

    #[test]
    fn a_read_that_would_block_is_given_up_once_nobody_waits_for_it() {
        let read = |kind, stopped| {
            let mut input = script([Ok(b"ab"), Err(kind), Ok(b"cd")]);
            read_while_wanted(&mut input, &mut [0; 4], &AtomicBool::new(stopped)).unwrap()
        };
        assert_eq!(read(io::ErrorKind::WouldBlock, true), 2);
        assert_eq!(read(io::ErrorKind::WouldBlock, false), 4);
        assert_eq!(read(io::ErrorKind::Interrupted, true), 4);
    }

    #[test]
    fn what_is_not_sealed_is_named() {
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
            (b"hello", "no known kind of file"),
        ];
        for (head, kind) in heads {
            let Err(Error::NotSealed { looks_like }) = Header::read(&mut &*head) else { panic!("{kind}") };
            assert_eq!(Error::NotSealed { looks_like }.is_empty_input(), head.is_empty());
            assert!(looks_like == kind || looks_like.ends_with(&format!(" {kind}")), "{looks_like}: {kind}");
        }
    }

    #[test]
    fn a_header_cut_anywhere_says_where() {
        let key = Key::generate().unwrap();
        let metadata = Metadata { comment: Some("a".to_owned()), ..Metadata::default() };
        let options = SealOptions { metadata: metadata.clone(), ..SealOptions::default() };
        let mut file = Vec::new();
        let (header, _) = seal(&mut io::empty(), &mut file, std::slice::from_ref(&key), &options).unwrap();
        for at in 1..header.as_bytes().len() {
            match Header::read(&mut &file[..at]) {
                Err(Error::Truncated { at: told, inside }) => {
                    assert_eq!((told, inside.as_str()), (at as u64, "the header"));
                }
                other => panic!("{at}: {other:?}"),
            }
        }
        let read = Header::read(&mut &file[..header.as_bytes().len()]).unwrap();
        assert_eq!(*read.unlock(&[key]).unwrap().metadata(), metadata);
    }
}
