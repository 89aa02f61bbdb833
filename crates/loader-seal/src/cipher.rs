//! One segment at a time: seal and open in place.

use crate::Error;
use crate::key::hkdf;
use crate::layout::{BOUND_LEN, STREAM_HEADER_LEN, Suite};
use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The low 32 bits of the counter begin at zero in every segment and a segment
/// has at most 2^20 blocks, so a 32-bit counter is exact here.
type AesCtr = ctr::Ctr32BE<Aes256>;

const PREFIX_LEN: usize = 7;
const SALT_LEN: usize = 32;

/// The stream's own header: one length byte, salt, nonce prefix.
pub(crate) type StreamHeader = [u8; STREAM_HEADER_LEN];

/// A fresh stream header.
pub(crate) fn stream_header() -> Result<StreamHeader, Error> {
    let mut header = [0; STREAM_HEADER_LEN];
    crate::key::random(&mut header[1..])?;
    header[0] = STREAM_HEADER_LEN as u8;
    Ok(header)
}

/// The keys of one stream, ready for any segment in any order.
pub(crate) struct SegmentCipher {
    prefix: [u8; PREFIX_LEN],
    keys: Keys,
}

enum Keys {
    CtrHmac { aes: Zeroizing<[u8; 32]>, mac: Box<Hmac<Sha256>> },
    Gcm(Box<LessSafeKey>),
}

/// A segment's tag is not the one that belongs to its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTag;

impl SegmentCipher {
    /// The cipher of the stream that begins with `header`, under the stream key,
    /// bound to the first bytes of the file's header. `None` where the stream
    /// header does not begin with its own length.
    pub(crate) fn new(
        suite: Suite,
        stream_key: &[u8; 32],
        header: &StreamHeader,
        bound: &[u8; BOUND_LEN],
    ) -> Option<Self> {
        if usize::from(header[0]) != STREAM_HEADER_LEN {
            return None;
        }
        let (salt, prefix) = header[1..].split_at(SALT_LEN);
        let keys = match suite {
            Suite::AesCtrHmac => {
                let derived = hkdf::<64>(stream_key, salt, &[bound]);
                let mut aes = Zeroizing::new([0; 32]);
                aes.copy_from_slice(&derived[..32]);
                let mac = Hmac::new_from_slice(&derived[32..]).ok()?;
                Keys::CtrHmac { aes, mac: Box::new(mac) }
            }
            Suite::AesGcm => {
                let derived = hkdf::<32>(stream_key, salt, &[bound]);
                let key = UnboundKey::new(&AES_256_GCM, derived.as_slice()).ok()?;
                Keys::Gcm(Box::new(LessSafeKey::new(key)))
            }
        };
        Some(Self { prefix: prefix.try_into().ok()?, keys })
    }

    /// Encrypts the first `len` bytes of `buffer` and puts the tag behind them.
    /// Gives the length of both, or `None` where the stream is at its limit of
    /// 2^32 segments.
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

    /// Checks the tag at the end of `segment`, in constant time, and decrypts
    /// what stands before it in place. Gives the length of the plaintext. After
    /// [`BadTag`] the buffer holds nothing of use.
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

    /// Prefix, number of the segment, whether it is the last, four zero bytes.
    fn nonce(&self, index: u64, last: bool) -> Option<[u8; 16]> {
        let mut nonce = [0; 16];
        nonce[..PREFIX_LEN].copy_from_slice(&self.prefix);
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
