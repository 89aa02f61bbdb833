//! Slots: the file key, wrapped for each key that may open the file.

use crate::key::{KeyId, hkdf, random};
use crate::{Error, Key};
use zeroize::Zeroizing;

/// The key of one file, 32 random bytes; never stored in clear.
pub(crate) type FileKey = Zeroizing<[u8; 32]>;

/// Bytes of a wrapped file key: key id, salt, wrapped key.
const WRAP_LEN: usize = 64;

/// Bytes of a device slot.
const DEVICE_LEN: usize = 92;

/// The file key under one key (format: TLV 01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Id of the key that opens the slot.
    pub key_id: KeyId,
    /// Salt of the slot, 16 random bytes.
    pub salt: [u8; 16],
    /// The file key xor what the key gives, 32 bytes.
    pub wrapped: [u8; 32],
}

/// A slot whose key is derived from user, password, hardware and, where one is
/// used, a device secret (format: TLV 02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSlot {
    /// The file key under the derived key.
    pub slot: KeySlot,
    /// What the password costs.
    pub cost: Cost,
    /// Salt of the password, 16 random bytes.
    pub password_salt: [u8; 16],
    /// What is sealed.
    pub kind: Kind,
    /// True where a device secret is part of the key.
    pub uses_secret: bool,
}

/// What is sealed to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The small part of a resource, or a small file.
    SmallPart,
    /// The credentials of the CDN.
    Cdn,
    /// A key fragment.
    Fragment,
}

/// Parameters of Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u8,
}

impl Default for Cost {
    /// 19456 KiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self { memory_kib: 19456, passes: 2, lanes: 1 }
    }
}

impl KeySlot {
    /// Wraps `file_key` for `key`.
    pub(crate) fn wrap(file_key: &FileKey, key: &Key, file_id: &[u8; 16]) -> Result<Self, Error> {
        let mut salt = [0; 16];
        random(&mut salt)?;
        Ok(Self::wrap_with_salt(file_key, key, file_id, salt))
    }

    /// Wraps `file_key` for `key`, which may itself depend on `salt`.
    pub(crate) fn wrap_with_salt(file_key: &FileKey, key: &Key, file_id: &[u8; 16], salt: [u8; 16]) -> Self {
        Self { key_id: key.id(), salt, wrapped: *xor_pad(file_key, key, &salt, file_id) }
    }

    /// What `key` makes of the slot: the file key, where it is the right one.
    pub(crate) fn unwrap(&self, key: &Key, file_id: &[u8; 16]) -> FileKey {
        xor_pad(&self.wrapped, key, &self.salt, file_id)
    }

    pub(crate) fn to_value(&self) -> Vec<u8> {
        [self.key_id.as_bytes().as_slice(), &self.salt, &self.wrapped].concat()
    }

    /// The slot in a TLV's value of exactly 64 bytes.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        if value.len() != WRAP_LEN {
            return None;
        }
        Some(Self { key_id: KeyId::from_bytes(array(value, 0)?), salt: array(value, 16)?, wrapped: array(value, 32)? })
    }
}

impl DeviceSlot {
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let mut value = self.slot.to_value();
        value.push(1);
        value.extend(self.cost.memory_kib.to_be_bytes());
        value.extend(self.cost.passes.to_be_bytes());
        value.push(self.cost.lanes);
        value.extend(self.password_salt);
        value.extend([self.kind.to_byte(), u8::from(self.uses_secret)]);
        value
    }

    /// The slot in a TLV's value of exactly 92 bytes with a known KDF, kind and flags.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        if value.len() != DEVICE_LEN || value[64] != 1 || value[91] > 1 {
            return None;
        }
        Some(Self {
            slot: KeySlot::from_value(&value[..WRAP_LEN])?,
            cost: Cost {
                memory_kib: u32::from_be_bytes(array(value, 65)?),
                passes: u32::from_be_bytes(array(value, 69)?),
                lanes: value[73],
            },
            password_salt: array(value, 74)?,
            kind: Kind::from_byte(value[90])?,
            uses_secret: value[91] == 1,
        })
    }
}

impl Kind {
    /// What it is, for a message: `a small part`, `the credentials of the CDN`,
    /// `a key fragment`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SmallPart => "a small part",
            Self::Cdn => "the credentials of the CDN",
            Self::Fragment => "a key fragment",
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::SmallPart => 1,
            Self::Cdn => 2,
            Self::Fragment => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::SmallPart, Self::Cdn, Self::Fragment].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

fn xor_pad(text: &[u8; 32], key: &Key, salt: &[u8; 16], file_id: &[u8; 16]) -> FileKey {
    let mut out = hkdf::<32>(key.expose(), salt, &[b"azs/v1/wrap", file_id]);
    out.iter_mut().zip(text).for_each(|(byte, other)| *byte ^= other);
    out
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
