//! Encryption and decryption of single segments, in place.

use crate::Error;
use crate::key::hkdf;
use crate::layout::{ASSOCIATED_DATA_LEN, STREAM_HEADER_LEN, Suite};
use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// AES-256-CTR with a 32-bit counter, which is sufficient: the low 32 bits start at
/// zero in every segment, and a segment has at most 2^20 blocks.
type AesCtr = ctr::Ctr32BE<Aes256>;

const NONCE_PREFIX_LEN: usize = 7;
const SALT_LEN: usize = 32;

/// Stream header: one length byte, salt of 32 bytes, nonce prefix of 7 bytes.
pub(crate) type StreamHeader = [u8; STREAM_HEADER_LEN];

/// Returns a stream header with a new random salt and nonce prefix.
///
/// # Errors
/// [`Error::Random`].
pub(crate) fn new_stream_header() -> Result<StreamHeader, Error> {
    let mut header = [0; STREAM_HEADER_LEN];
    crate::key::fill_random(&mut header[1..])?;
    header[0] = STREAM_HEADER_LEN as u8;
    Ok(header)
}

/// Keys of one stream. Segments can be encrypted and decrypted in any order.
pub(crate) struct SegmentCipher {
    nonce_prefix: [u8; NONCE_PREFIX_LEN],
    keys: Keys,
}

enum Keys {
    CtrHmac { aes: Zeroizing<[u8; 32]>, mac: Box<Hmac<Sha256>> },
    Gcm(Box<LessSafeKey>),
}

/// The tag of a segment does not match its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTag;

impl SegmentCipher {
    /// Derives the keys of the stream that starts with `header`. Returns `None` if the
    /// first byte of `header` is not its length.
    pub(crate) fn new(
        suite: Suite,
        stream_key: &[u8; 32],
        header: &StreamHeader,
        associated_data: &[u8; ASSOCIATED_DATA_LEN],
    ) -> Option<Self> {
        if usize::from(header[0]) != STREAM_HEADER_LEN {
            return None;
        }
        let (salt, nonce_prefix) = header[1..].split_at(SALT_LEN);
        let keys = match suite {
            Suite::AesCtrHmac => {
                let derived = hkdf::<64>(stream_key, salt, &[associated_data]);
                let mut aes = Zeroizing::new([0; 32]);
                aes.copy_from_slice(&derived[..32]);
                let mac = Hmac::new_from_slice(&derived[32..]).ok()?;
                Keys::CtrHmac { aes, mac: Box::new(mac) }
            }
            Suite::AesGcm => {
                let derived = hkdf::<32>(stream_key, salt, &[associated_data]);
                let key = UnboundKey::new(&AES_256_GCM, derived.as_slice()).ok()?;
                Keys::Gcm(Box::new(LessSafeKey::new(key)))
            }
        };
        Some(Self { nonce_prefix: nonce_prefix.try_into().ok()?, keys })
    }

    /// Encrypts the first `len` bytes of `buffer` in place and writes the tag after
    /// them. Returns the length of ciphertext and tag in bytes, or `None` if `index` is
    /// 2^32 or more.
    pub(crate) fn seal(&self, index: u64, last: bool, buffer: &mut [u8], len: usize) -> Option<usize> {
        let nonce = self.nonce(index, last)?;
        let (text, rest) = buffer.split_at_mut(len);
        match &self.keys {
            Keys::CtrHmac { aes, mac } => {
                apply_ctr(aes, &nonce, text);
                let tag = segment_mac(mac, &nonce, text).finalize().into_bytes();
                rest[..tag.len()].copy_from_slice(&tag);
                Some(len + tag.len())
            }
            Keys::Gcm(key) => {
                let tag = key.seal_in_place_separate_tag(gcm_nonce(&nonce), Aad::empty(), text).ok()?;
                rest[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
                Some(len + tag.as_ref().len())
            }
        }
    }

    /// Checks the tag at the end of `segment` in constant time and decrypts the bytes
    /// before it in place. Returns the length of the plaintext in bytes.
    ///
    /// # Errors
    /// [`BadTag`]; the content of `segment` is then undefined.
    pub(crate) fn open(&self, index: u64, last: bool, segment: &mut [u8]) -> Result<usize, BadTag> {
        let nonce = self.nonce(index, last).ok_or(BadTag)?;
        match &self.keys {
            Keys::CtrHmac { aes, mac } => {
                let len = segment.len().checked_sub(Suite::AesCtrHmac.tag_len()).ok_or(BadTag)?;
                let (text, tag) = segment.split_at_mut(len);
                segment_mac(mac, &nonce, text).verify_slice(tag).map_err(|_| BadTag)?;
                apply_ctr(aes, &nonce, text);
                Ok(len)
            }
            Keys::Gcm(key) => {
                let plain = key.open_in_place(gcm_nonce(&nonce), Aad::empty(), segment).map_err(|_| BadTag)?;
                Ok(plain.len())
            }
        }
    }

    /// Returns prefix (7 bytes), segment number (4), last-segment flag (1), zeros (4), or
    /// `None` if `index` is 2^32 or more.
    fn nonce(&self, index: u64, last: bool) -> Option<[u8; 16]> {
        let mut nonce = [0; 16];
        nonce[..NONCE_PREFIX_LEN].copy_from_slice(&self.nonce_prefix);
        nonce[7..11].copy_from_slice(&u32::try_from(index).ok()?.to_be_bytes());
        nonce[11] = u8::from(last);
        Some(nonce)
    }
}

fn gcm_nonce(nonce: &[u8; 16]) -> Nonce {
    let mut short = [0; 12];
    short.copy_from_slice(&nonce[..12]);
    Nonce::assume_unique_for_key(short)
}

fn apply_ctr(key: &[u8; 32], nonce: &[u8; 16], text: &mut [u8]) {
    AesCtr::new(key.into(), nonce.into()).apply_keystream(text);
}

fn segment_mac(mac: &Hmac<Sha256>, nonce: &[u8; 16], ciphertext: &[u8]) -> Hmac<Sha256> {
    let mut mac = mac.clone();
    mac.update(nonce);
    mac.update(ciphertext);
    mac
}
