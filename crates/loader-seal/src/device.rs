//! Sealing to a user, a password and a device (format: keys and fragments).

use crate::key::{hkdf, random};
use crate::metadata::Tlvs;
use crate::seal::{random_array, seal_with};
pub use crate::slot::{Cost, Kind};
use crate::slot::{DeviceSlot, KeySlot};
use crate::{Error, Header, Key, SealOptions, Suite};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Most memory, in KiB, that a slot may ask for.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// Most passes that a slot may ask for.
const PASSES_MAX: u32 = 10;

/// Segments of 4096 bytes, for small things.
const SEGMENT_LOG2: u8 = 12;

/// Why what is sealed to a device does not open here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceMismatch {
    /// There is no device slot at all.
    #[error("not sealed to a device, but to keys")]
    NoSlot,
    /// It is sealed to a device as something else.
    #[error("sealed as {}, not as {}", .found.name(), .wanted.name())]
    OtherKind {
        /// What it is.
        found: Kind,
        /// What was wanted.
        wanted: Kind,
    },
    /// A device secret is needed and none is given.
    #[error("sealed with a device secret, and none is given")]
    NeedsSecret,
    /// A device secret is given and none was used.
    #[error("sealed without a device secret, and one is given")]
    TakesNoSecret,
    /// They make one key, so nothing tells which of them is another.
    #[error("sealed to another user, password or hardware")]
    Other,
    /// The same, where a device secret is one of them.
    #[error("sealed to another user, password, hardware or device secret")]
    OtherWithSecret,
}

/// Whom and what something is sealed to.
pub struct Binding<'a> {
    /// The user's UUID.
    pub user: [u8; 16],
    /// The user's password; normalised to NFC before it is hashed.
    pub password: &'a str,
    /// The hardware id.
    pub hardware: [u8; 32],
    /// The device secret, where one is used.
    pub secret: Option<&'a [u8; 32]>,
}

/// Seals `plaintext` to `binding`: suite AES-256-CTR with HMAC-SHA-256, segments
/// of 4096 bytes, one device slot.
///
/// # Errors
/// [`Error::Malformed`] for a cost beyond the limits, [`Error::Random`].
pub fn seal(plaintext: &[u8], kind: Kind, binding: &Binding<'_>, cost: Cost) -> Result<Vec<u8>, Error> {
    let file_id = random_array()?;
    let file_key = Zeroizing::new(random_array()?);
    let (mut salt, mut password_salt) = ([0; 16], [0; 16]);
    random(&mut salt)?;
    random(&mut password_salt)?;
    let key = derive(binding, kind, cost, &password_salt, &salt)?;
    let slot = KeySlot::wrap_with_salt(&file_key, &key, &file_id, salt);
    let device = DeviceSlot { slot, cost, password_salt, kind, uses_secret: binding.secret.is_some() };
    let tlvs = Tlvs { device_slots: vec![device], ..Tlvs::default() };
    let options = SealOptions {
        suite: Suite::AesCtrHmac,
        segment_log2: SEGMENT_LOG2,
        plaintext_len: Some(plaintext.len() as u64),
        ..SealOptions::default()
    };
    let mut sealed = Vec::new();
    seal_with(&mut &*plaintext, &mut sealed, &options, &file_id, &file_key, &tlvs)?;
    Ok(sealed)
}

/// Opens what was sealed to `binding` as a `kind`.
///
/// # Errors
/// [`Error::WrongDevice`] with the [`DeviceMismatch`]; [`Error::Malformed`] for a slot that
/// asks for more than 256 MiB or 10 passes, before any memory is taken; and those
/// of [`Header::read`], [`Header::unlock`] and [`crate::Unlocked::open`].
pub fn open(sealed: &[u8], kind: Kind, binding: &Binding<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut rest = sealed;
    let header = Header::read(&mut rest)?;
    let slot = find_slot(header.device_slots(), kind, binding.secret.is_some())?;
    let key = derive(binding, kind, slot.cost, &slot.password_salt, &slot.slot.salt)?;
    let mismatch = if slot.uses_secret { DeviceMismatch::OtherWithSecret } else { DeviceMismatch::Other };
    let unlocked = header.unlock(&[key]).map_err(|error| match error {
        Error::WrongKey { .. } => mismatch.into(),
        other => other,
    })?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    unlocked.open(&mut rest, &mut *plaintext, 1)?;
    Ok(plaintext)
}

/// The slot of this kind, with or without a device secret. One slot a kind is what
/// a server writes; trying more would only multiply the cost.
fn find_slot(slots: &[DeviceSlot], kind: Kind, secret: bool) -> Result<&DeviceSlot, DeviceMismatch> {
    let mut of_kind = slots.iter().filter(|slot| slot.kind == kind).peekable();
    let Some(first) = of_kind.peek().copied() else {
        let other = slots.first().map(|slot| DeviceMismatch::OtherKind { found: slot.kind, wanted: kind });
        return Err(other.unwrap_or(DeviceMismatch::NoSlot));
    };
    let mismatch = if first.uses_secret { DeviceMismatch::NeedsSecret } else { DeviceMismatch::TakesNoSecret };
    of_kind.find(|slot| slot.uses_secret == secret).ok_or(mismatch)
}

/// The key of a device slot: HKDF over password hash, hardware id and device
/// secret, each with its length before it.
fn derive(
    binding: &Binding<'_>,
    kind: Kind,
    cost: Cost,
    password_salt: &[u8; 16],
    slot_salt: &[u8; 16],
) -> Result<Key, Error> {
    if cost.memory_kib > MEMORY_MAX_KIB || cost.passes > PASSES_MAX {
        return Err(Error::malformed("the password hash asks for more than 256 MiB or 10 passes"));
    }
    let bad_cost = |_| Error::malformed("the parameters of the password hash are out of bounds");
    let params = Params::new(cost.memory_kib, cost.passes, u32::from(cost.lanes), Some(32)).map_err(bad_cost)?;
    let password = normalized(binding.password);
    let mut hash = Zeroizing::new([0; 32]);
    // Blocks of our own, since those of the crate are not wiped.
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

/// The password in NFC (Unicode Standard Annex 15), in a buffer that never grows:
/// a character becomes at most three times as many bytes.
fn normalized(password: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * password.len()));
    text.extend(password.nfc());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn binding(password: &str) -> Binding<'_> {
        Binding { user: [1; 16], password, hardware: [2; 32], secret: None }
    }

    #[test]
    fn only_the_same_binding_opens() {
        let sealed = seal(b"fragment", Kind::Fragment, &binding("pässword"), CHEAP).unwrap();
        let opened = open(&sealed, Kind::Fragment, &binding("pa\u{308}ssword")).unwrap();
        assert_eq!(*opened, b"fragment");
        let other = |change: fn(&mut Binding<'_>)| {
            let mut binding = binding("pässword");
            change(&mut binding);
            open(&sealed, Kind::Fragment, &binding).unwrap_err().code()
        };
        assert_eq!(other(|b| b.password = "password"), "wrong_device");
        assert_eq!(other(|b| b.user[0] = 0), "wrong_device");
        assert_eq!(other(|b| b.hardware[31] = 0), "wrong_device");
        assert_eq!(other(|b| b.secret = Some(&[0; 32])), "wrong_device");
        assert_eq!(open(&sealed, Kind::Cdn, &binding("pässword")).unwrap_err().code(), "wrong_device");
    }

    #[test]
    fn the_costs_of_the_format_are_taken_and_no_more() {
        let cost = |memory_kib, passes| Cost { memory_kib, passes, lanes: 4 };
        let sealed = |cost| seal(b"x", Kind::Cdn, &binding("p"), cost).map_err(|error| error.code());
        for most in [cost(256 * 1024, 1), cost(64, 10)] {
            assert_eq!(*open(&sealed(most).unwrap(), Kind::Cdn, &binding("p")).unwrap(), b"x");
        }
        for more in [cost(256 * 1024 + 1, 1), cost(64, 11), cost(u32::MAX, u32::MAX)] {
            assert_eq!(sealed(more).unwrap_err(), "malformed");
        }
    }

    #[test]
    fn what_is_sealed_to_a_device_has_the_shape_of_the_format() {
        let header = Header::read(&mut &*seal(b"abc", Kind::Cdn, &binding("p"), CHEAP).unwrap()).unwrap();
        let shape = (header.suite(), header.segment_len(), header.plaintext_len());
        assert_eq!(shape, (Suite::AesCtrHmac, 4096, Some(3)));
        assert_eq!((header.device_slots().len(), header.key_slots().len()), (1, 0));
    }

    #[test]
    fn each_mismatch_has_its_own_message() {
        let with = |secret| Binding { secret, ..binding("p") };
        let sealed = |secret| seal(b"x", Kind::Cdn, &with(secret), CHEAP).unwrap();
        let message = |sealed: &[u8], kind, binding: &Binding<'_>| {
            let error = open(sealed, kind, binding).unwrap_err();
            assert_eq!(error.code(), "wrong_device");
            error.to_string()
        };
        let (bare, secret) = (sealed(None), sealed(Some(&[3; 32])));
        assert_eq!(*open(&secret, Kind::Cdn, &with(Some(&[3; 32]))).unwrap(), b"x");
        assert_eq!(
            [
                message(&bare, Kind::Cdn, &binding("q")),
                message(&secret, Kind::Cdn, &with(Some(&[4; 32]))),
                message(&secret, Kind::Cdn, &with(None)),
                message(&bare, Kind::Cdn, &with(Some(&[3; 32]))),
                message(&bare, Kind::Fragment, &with(None)),
            ],
            [
                "sealed to another user, password or hardware",
                "sealed to another user, password, hardware or device secret",
                "sealed with a device secret, and none is given",
                "sealed without a device secret, and one is given",
                "sealed as the credentials of the CDN, not as a key fragment",
            ]
        );
        let mut to_a_key = Vec::new();
        let keys = [Key::from_bytes([1; 32])];
        crate::seal(&mut &b"x"[..], &mut to_a_key, &keys, &SealOptions::default()).unwrap();
        assert_eq!(message(&to_a_key, Kind::Cdn, &with(None)), "not sealed to a device, but to keys");
    }

    #[test]
    fn a_password_is_normalized_without_growing() {
        for (password, normal) in [("pa\u{308}ss", "päss"), ("\u{1d160}\u{fb2c}", ""), ("plain", "plain"), ("", "")] {
            let text = normalized(password);
            assert!(normal.is_empty() || *text == normal);
            assert_eq!(text.capacity(), 3 * password.len());
        }
    }
}
