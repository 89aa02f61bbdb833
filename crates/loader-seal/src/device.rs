//! Sealing to a user, a password and a device (format: keys and fragments).

use crate::key::{hkdf, random};
use crate::metadata::Tlvs;
use crate::seal::{random_array, seal_with};
pub use crate::slot::{Cost, Kind};
use crate::slot::{DeviceSlot, KeySlot};
use crate::{Error, Header, Key, SealOptions, Suite};
use argon2::{Algorithm, Argon2, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Most memory, in KiB, that a slot may ask for.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// Most passes that a slot may ask for.
const PASSES_MAX: u32 = 10;

/// Segments of 4096 bytes, for small things.
const SEGMENT_LOG2: u8 = 12;

/// Whom and what something is sealed to.
pub struct Binding<'a> {
    /// The user's UUID.
    pub user: [u8; 16],
    /// The user's password; normalised to NFC before it is hashed.
    pub password: &'a str,
    /// The hardware id.
    pub hardware: [u8; 32],
    /// The device secret, where one is used.
    pub secret: Option<[u8; 32]>,
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
/// [`Error::WrongDevice`] where user, password, hardware or device secret are
/// others, or there is no slot of this kind; [`Error::Malformed`] for a slot that
/// asks for more than 256 MiB or 10 passes, before any memory is taken; and those
/// of [`Header::read`], [`Header::unlock`] and [`crate::Unlocked::open`].
pub fn open(sealed: &[u8], kind: Kind, binding: &Binding<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut rest = sealed;
    let header = Header::read(&mut rest)?;
    let mut slots = header.device_slots().iter();
    // One slot a kind is what a server writes; more would only multiply the cost.
    let Some(slot) = slots.find(|slot| slot.kind == kind && slot.uses_secret == binding.secret.is_some()) else {
        return Err(Error::WrongDevice);
    };
    let key = derive(binding, kind, slot.cost, &slot.password_salt, &slot.slot.salt)?;
    let unlocked = header.unlock(&[key]).map_err(|error| match error {
        Error::WrongKey { .. } => Error::WrongDevice,
        other => other,
    })?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    unlocked.open(&mut rest, &mut *plaintext, 1)?;
    Ok(plaintext)
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
    let password = Zeroizing::new(binding.password.nfc().collect::<String>());
    let mut hash = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), password_salt, hash.as_mut_slice())
        .map_err(bad_cost)?;
    let secret = binding.secret.as_ref().map_or(&[][..], |secret| secret.as_slice());
    let mut material = Zeroizing::new(Vec::with_capacity(3 * (2 + 32)));
    for part in [hash.as_slice(), &binding.hardware, secret] {
        material.extend((part.len() as u16).to_be_bytes());
        material.extend(part);
    }
    let key = hkdf::<32>(&material, slot_salt, &[b"azs/v1/seal", &[0, kind.to_byte(), 0], &binding.user]);
    Ok(Key::from_bytes(*key))
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
        assert_eq!(other(|b| b.secret = Some([0; 32])), "wrong_device");
        assert_eq!(open(&sealed, Kind::Cdn, &binding("pässword")).unwrap_err().code(), "wrong_device");
    }

    #[test]
    fn a_hostile_cost_is_refused_before_memory_is_taken() {
        let mut sealed = seal(b"x", Kind::Cdn, &binding("p"), CHEAP).unwrap();
        // The cost stands behind the TLV's head, the wrapped key and the KDF.
        let memory = 40 + 3 + 64 + 1;
        sealed[memory..memory + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(open(&sealed, Kind::Cdn, &binding("p")).unwrap_err().code(), "malformed");
    }
}
