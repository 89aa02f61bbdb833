//! Slots: copies of the file key, each wrapped for one key.

use crate::key::{KeyId, fill_random, hkdf};
use crate::{Error, Key};
use zeroize::Zeroizing;

/// Key of one file, 32 random bytes; never stored unwrapped.
pub(crate) type FileKey = Zeroizing<[u8; 32]>;

/// Length of a key slot in bytes: key id 16, salt 16, wrapped file key 32.
pub(crate) const KEY_SLOT_LEN: usize = 64;

/// Length of a device slot in bytes.
const DEVICE_SLOT_LEN: usize = 92;

/// File key wrapped for one key (crates/loader-seal/README.md, "Fields", type 01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Id of the key that opens the slot.
    pub key_id: KeyId,
    /// Salt of the slot, 16 random bytes.
    pub salt: [u8; 16],
    /// The file key XOR a pad derived from the key, 32 bytes.
    pub wrapped: [u8; 32],
}

/// File key wrapped for a key that is derived from user, password, hardware id and
/// possibly a device secret (crates/loader-seal/README.md, "Sealed to a user and a
/// device").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSlot {
    /// The file key, wrapped for the derived key.
    pub slot: KeySlot,
    /// Cost of the password hash.
    pub cost: Cost,
    /// Salt of the password, 16 random bytes.
    pub password_salt: [u8; 16],
    /// Type of the content.
    pub kind: SealedKind,
    /// True if a device secret is part of the key.
    pub uses_secret: bool,
}

/// Type of content that is sealed to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedKind {
    /// The small part of a resource, or a small file.
    SmallPart,
    /// The credentials of the CDN.
    Cdn,
    /// A key fragment.
    Fragment,
}

/// Cost of a password hash: parameters of Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Number of passes over the memory.
    pub passes: u32,
    /// Degree of parallelism.
    pub lanes: u8,
}

impl Default for Cost {
    /// 19456 KiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self { memory_kib: 19456, passes: 2, lanes: 1 }
    }
}

impl KeySlot {
    /// Wraps `file_key` for `key` with a new random salt.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub(crate) fn wrap(file_key: &FileKey, key: &Key, file_id: &[u8; 16]) -> Result<Self, Error> {
        let mut salt = [0; 16];
        fill_random(&mut salt)?;
        Ok(Self::wrap_with_salt(file_key, key, file_id, salt))
    }

    /// Wraps `file_key` for `key`, which may be derived from `salt`.
    pub(crate) fn wrap_with_salt(file_key: &FileKey, key: &Key, file_id: &[u8; 16], salt: [u8; 16]) -> Self {
        Self { key_id: key.id(), salt, wrapped: *xor_pad(file_key, key, &salt, file_id) }
    }

    /// Unwraps the file key with `key`. The result is a wrong file key if the slot is for
    /// another key.
    pub(crate) fn unwrap(&self, key: &Key, file_id: &[u8; 16]) -> FileKey {
        xor_pad(&self.wrapped, key, &self.salt, file_id)
    }

    pub(crate) fn to_value(&self) -> Vec<u8> {
        [self.key_id.as_bytes().as_slice(), &self.salt, &self.wrapped].concat()
    }

    /// Parses the value of a field; `None` if it is not 64 bytes long.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        if value.len() != KEY_SLOT_LEN {
            return None;
        }
        Some(Self {
            key_id: KeyId::from_bytes(array_at(value, 0)?),
            salt: array_at(value, 16)?,
            wrapped: array_at(value, 32)?,
        })
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

    /// Parses the value of a field; `None` if it is not 92 bytes long, or if its password
    /// hash, content type or flags are unknown.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        if value.len() != DEVICE_SLOT_LEN || value[64] != 1 || value[91] > 1 {
            return None;
        }
        Some(Self {
            slot: KeySlot::from_value(&value[..KEY_SLOT_LEN])?,
            cost: Cost {
                memory_kib: u32::from_be_bytes(array_at(value, 65)?),
                passes: u32::from_be_bytes(array_at(value, 69)?),
                lanes: value[73],
            },
            password_salt: array_at(value, 74)?,
            kind: SealedKind::from_byte(value[90])?,
            uses_secret: value[91] == 1,
        })
    }
}

impl SealedKind {
    /// Returns the name for messages, with its article: `a small part`,
    /// `the credentials of the CDN`, `a key fragment`.
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

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
