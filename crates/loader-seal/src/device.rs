//! Sealing to a user, a password and a device (crates/loader-seal/README.md, "Sealed to a
//! user and a device").

use crate::fields::Fields;
use crate::key::{fill_random, hkdf};
use crate::seal::{random_array, seal_with};
pub use crate::slot::{Cost, SealedKind};
use crate::slot::{DeviceSlot, KeySlot};
use crate::{Error, Header, Key, SealOptions, Suite};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Maximum memory of the password hash in KiB.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// Maximum number of passes of the password hash.
const PASSES_MAX: u32 = 10;

/// Segments of 4096 bytes, because the content is small.
const SEGMENT_LOG2: u8 = 12;

/// Reason why content that is sealed to a device cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceMismatch {
    /// There is no device slot.
    #[error("not sealed to a device, but to keys")]
    NoSlot,
    /// The content has another type.
    #[error("sealed as {}, not as {}", .found.name(), .wanted.name())]
    WrongKind {
        /// Actual type.
        found: SealedKind,
        /// Expected type.
        wanted: SealedKind,
    },
    /// A device secret is required, but not given.
    #[error("sealed with a device secret, which is missing")]
    MissingSecret,
    /// A device secret is given, but was not used for sealing.
    #[error("sealed without a device secret, and one is given")]
    UnexpectedSecret,
    /// User, password or hardware is wrong. One key is derived from all three, so it is
    /// unknown which.
    #[error("sealed to another user, password or hardware")]
    Other,
    /// User, password, hardware or device secret is wrong.
    #[error("sealed to another user, password, hardware or device secret")]
    OtherWithSecret,
}

/// User and device that content is sealed to.
pub struct Binding<'a> {
    /// UUID of the user.
    pub user: [u8; 16],
    /// Password of the user. It is normalized to NFC before it is hashed.
    pub password: &'a str,
    /// Hardware id of the device.
    pub hardware: [u8; 32],
    /// Device secret, if one is used.
    pub secret: Option<&'a [u8; 32]>,
}

/// Seals `plaintext` to `binding` with AES-256-CTR and HMAC-SHA-256, segments of 4096
/// bytes, and one device slot.
///
/// # Errors
/// [`Error::Malformed`] if `cost` exceeds the limits; [`Error::Random`].
pub fn seal(plaintext: &[u8], kind: SealedKind, binding: &Binding<'_>, cost: Cost) -> Result<Vec<u8>, Error> {
    let file_id = random_array()?;
    let file_key = Zeroizing::new(random_array()?);
    let (mut salt, mut password_salt) = ([0; 16], [0; 16]);
    fill_random(&mut salt)?;
    fill_random(&mut password_salt)?;
    let key = derive_key(binding, kind, cost, &password_salt, &salt)?;
    let slot = KeySlot::wrap_with_salt(&file_key, &key, &file_id, salt);
    let device = DeviceSlot { slot, cost, password_salt, kind, uses_secret: binding.secret.is_some() };
    let fields = Fields { device_slots: vec![device], ..Fields::default() };
    let options = SealOptions {
        suite: Suite::AesCtrHmac,
        segment_log2: SEGMENT_LOG2,
        plaintext_len: Some(plaintext.len() as u64),
        ..SealOptions::default()
    };
    let mut sealed = Vec::new();
    seal_with(&mut &*plaintext, &mut sealed, &options, &file_id, &file_key, &fields)?;
    Ok(sealed)
}

/// Opens content of type `kind` that was sealed to `binding`.
///
/// # Errors
/// [`Error::WrongDevice`]; [`Error::Malformed`] if the password hash needs more than 256
/// MiB or 10 passes, before memory is allocated; and the errors of [`Header::read`],
/// [`Header::unlock`] and [`crate::Unlocked::open`].
pub fn open(sealed: &[u8], kind: SealedKind, binding: &Binding<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut rest = sealed;
    let header = Header::read(&mut rest)?;
    let slot = find_slot(header.device_slots(), kind, binding.secret.is_some())?;
    let key = derive_key(binding, kind, slot.cost, &slot.password_salt, &slot.slot.salt)?;
    let mismatch = if slot.uses_secret { DeviceMismatch::OtherWithSecret } else { DeviceMismatch::Other };
    let unlocked = header.unlock(&[key]).map_err(|error| match error {
        Error::WrongKey { .. } => mismatch.into(),
        other => other,
    })?;
    if unlocked.metadata().encoding.is_some() {
        return Err(Error::Unsupported("content encoding of a response".to_owned()));
    }
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    unlocked.open(&mut rest, &mut *plaintext, 1)?;
    Ok(plaintext)
}

/// Returns the first slot of this type, with or without a device secret. Servers write one
/// slot per type, and each further attempt would cost another password hash.
fn find_slot(slots: &[DeviceSlot], kind: SealedKind, secret: bool) -> Result<&DeviceSlot, DeviceMismatch> {
    let mut of_kind = slots.iter().filter(|slot| slot.kind == kind).peekable();
    let Some(first) = of_kind.peek().copied() else {
        let other = slots.first().map(|slot| DeviceMismatch::WrongKind { found: slot.kind, wanted: kind });
        return Err(other.unwrap_or(DeviceMismatch::NoSlot));
    };
    let mismatch = if first.uses_secret { DeviceMismatch::MissingSecret } else { DeviceMismatch::UnexpectedSecret };
    of_kind.find(|slot| slot.uses_secret == secret).ok_or(mismatch)
}

/// Derives the key of a device slot: HKDF over password hash, hardware id and device
/// secret, each preceded by its length.
fn derive_key(
    binding: &Binding<'_>,
    kind: SealedKind,
    cost: Cost,
    password_salt: &[u8; 16],
    slot_salt: &[u8; 16],
) -> Result<Key, Error> {
    if cost.memory_kib > MEMORY_MAX_KIB || cost.passes > PASSES_MAX {
        return Err(Error::malformed("the password hash needs more than 256 MiB or 10 passes"));
    }
    let bad_cost = |_| Error::malformed("the parameters of the password hash are out of bounds");
    let params = Params::new(cost.memory_kib, cost.passes, u32::from(cost.lanes), Some(32)).map_err(bad_cost)?;
    let password = normalized(binding.password);
    let mut hash = Zeroizing::new([0; 32]);
    // The argon2 crate does not wipe the blocks that it allocates.
    let mut blocks = Zeroizing::new(Vec::new());
    blocks.try_reserve_exact(params.block_count()).map_err(|_| Error::Memory { kib: cost.memory_kib })?;
    blocks.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), password_salt, hash.as_mut_slice(), blocks.as_mut_slice())
        .map_err(bad_cost)?;
    let secret = binding.secret.map_or(&[][..], |secret| secret.as_slice());
    let mut material = Zeroizing::new(Vec::with_capacity(3 * (2 + 32)));
    for part in [hash.as_slice(), &binding.hardware, secret] {
        material.extend((part.len() as u16).to_be_bytes());
        material.extend(part);
    }
    let key = hkdf::<32>(&material, slot_salt, &[b"azs/v1/seal", &[0, kind.to_byte(), 0], &binding.user]);
    Ok(Key::from_bytes(*key))
}

/// Normalizes a password to NFC (Unicode Standard Annex 15). The buffer never grows: the
/// length increases at most threefold.
fn normalized(password: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * password.len()));
    text.extend(password.nfc());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader_model::Coded;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn binding(password: &str) -> Binding<'_> {
        Binding { user: [1; 16], password, hardware: [2; 32], secret: None }
    }

    #[test]
    fn only_the_same_binding_opens() {
        let sealed = seal(b"fragment", SealedKind::Fragment, &binding("pässword"), CHEAP).unwrap();
        let opened = open(&sealed, SealedKind::Fragment, &binding("pa\u{308}ssword")).unwrap();
        assert_eq!(*opened, b"fragment");
        let other = |change: fn(&mut Binding<'_>)| {
            let mut binding = binding("pässword");
            change(&mut binding);
            open(&sealed, SealedKind::Fragment, &binding).unwrap_err().code().as_str()
        };
        assert_eq!(other(|b| b.password = "password"), "wrong_device");
        assert_eq!(other(|b| b.user[0] = 0), "wrong_device");
        assert_eq!(other(|b| b.hardware[31] = 0), "wrong_device");
        assert_eq!(other(|b| b.secret = Some(&[0; 32])), "wrong_device");
        assert_eq!(open(&sealed, SealedKind::Cdn, &binding("pässword")).unwrap_err().code().as_str(), "wrong_device");
    }

    #[test]
    fn costs_up_to_the_limit_are_accepted() {
        let cost = |memory_kib, passes| Cost { memory_kib, passes, lanes: 4 };
        let sealed = |cost| seal(b"x", SealedKind::Cdn, &binding("p"), cost).map_err(|error| error.code().as_str());
        for most in [cost(256 * 1024, 1), cost(64, 10)] {
            assert_eq!(*open(&sealed(most).unwrap(), SealedKind::Cdn, &binding("p")).unwrap(), b"x");
        }
        for more in [cost(256 * 1024 + 1, 1), cost(64, 11), cost(u32::MAX, u32::MAX)] {
            assert_eq!(sealed(more).unwrap_err(), "malformed");
        }
    }

    #[test]
    fn sealed_content_has_the_documented_parameters() {
        let header = Header::read(&mut &*seal(b"abc", SealedKind::Cdn, &binding("p"), CHEAP).unwrap()).unwrap();
        let shape = (header.suite(), header.segment_len(), header.plaintext_len());
        assert_eq!(shape, (Suite::AesCtrHmac, 4096, Some(3)));
        assert_eq!((header.device_slots().len(), header.key_slots().len()), (1, 0));
    }

    #[test]
    fn each_mismatch_has_its_own_message() {
        let with = |secret| Binding { secret, ..binding("p") };
        let sealed = |secret| seal(b"x", SealedKind::Cdn, &with(secret), CHEAP).unwrap();
        let message = |sealed: &[u8], kind, binding: &Binding<'_>| {
            let error = open(sealed, kind, binding).unwrap_err();
            assert_eq!(error.code().as_str(), "wrong_device");
            error.to_string()
        };
        let (bare, secret) = (sealed(None), sealed(Some(&[3; 32])));
        assert_eq!(*open(&secret, SealedKind::Cdn, &with(Some(&[3; 32]))).unwrap(), b"x");
        assert_eq!(
            [
                message(&bare, SealedKind::Cdn, &binding("q")),
                message(&secret, SealedKind::Cdn, &with(Some(&[4; 32]))),
                message(&secret, SealedKind::Cdn, &with(None)),
                message(&bare, SealedKind::Cdn, &with(Some(&[3; 32]))),
                message(&bare, SealedKind::Fragment, &with(None)),
            ],
            [
                "sealed to another user, password or hardware",
                "sealed to another user, password, hardware or device secret",
                "sealed with a device secret, which is missing",
                "sealed without a device secret, and one is given",
                "sealed as the credentials of the CDN, not as a key fragment",
            ]
        );
        let mut to_a_key = Vec::new();
        let keys = [Key::from_bytes([1; 32])];
        crate::seal(&mut &b"x"[..], &mut to_a_key, &keys, &SealOptions::default()).unwrap();
        assert_eq!(message(&to_a_key, SealedKind::Cdn, &with(None)), "not sealed to a device, but to keys");
    }

    #[test]
    fn password_is_normalized_without_reallocation() {
        for (password, normal) in [("pa\u{308}ss", "päss"), ("\u{1d160}\u{fb2c}", ""), ("plain", "plain"), ("", "")] {
            let text = normalized(password);
            assert!(normal.is_empty() || *text == normal);
            assert_eq!(text.capacity(), 3 * password.len());
        }
    }
}
