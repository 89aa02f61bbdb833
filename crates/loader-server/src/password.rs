//! Password hashes: Argon2id (RFC 9106) in the PHC string format.

use crate::StateError;
use crate::settings::Argon2Cost;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD as BASE64, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Length of a new salt in bytes.
const SALT_LEN: usize = 16;

/// Length of a hash in bytes.
const HASH_LEN: usize = 32;

/// A stored password hash, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PasswordHash {
    pub(crate) cost: Argon2Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    /// Hashes `password` with a new salt. `None` if the kernel returns no random bytes or the
    /// memory is exhausted.
    pub(crate) fn new(password: &str, cost: Argon2Cost) -> Option<Self> {
        let mut salt = vec![0; SALT_LEN];
        getrandom::fill(&mut salt).ok()?;
        let hash = argon2id(password, &salt, cost)?.to_vec();
        Some(Self { cost, salt, hash })
    }

    /// Returns a hash that no password has. Verifying with it takes the time of a real one.
    pub(crate) fn of_nobody(cost: Argon2Cost) -> Self {
        Self { cost, salt: vec![0; SALT_LEN], hash: Vec::new() }
    }

    /// Parses a PHC string. `None` for another algorithm or a cost above the limits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (parameters, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let mut numbers = parameters.split(',').zip(["m=", "t=", "p="]).map(|(text, name)| text.strip_prefix(name));
        let mut number = || numbers.next()??.parse::<u32>().ok();
        let cost = Argon2Cost { memory_kib: number()?, passes: number()?, lanes: number()?.try_into().ok()? };
        let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
        let is_valid = cost.is_bounded()
            && parameters.split(',').count() == 3
            && (8..=64).contains(&salt.len())
            && hash.len() == HASH_LEN;
        is_valid.then_some(Self { cost, salt, hash })
    }

    /// Returns true if `password` has this hash. The comparison runs in constant time.
    pub(crate) fn verify(&self, password: &str) -> bool {
        argon2id(password, &self.salt, self.cost).is_some_and(|hash| hash.as_slice().ct_eq(&self.hash).into())
    }
}

impl std::fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Argon2Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(&self.hash));
        write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

/// Returns a password with 192 random bits.
///
/// # Errors
/// [`StateError::Crypto`] if the kernel returns no random bytes.
pub fn random_password() -> Result<Zeroizing<String>, StateError> {
    let mut bytes = Zeroizing::new([0; 24]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| StateError::Crypto)?;
    Ok(Zeroizing::new(BASE64URL.encode(*bytes)))
}

/// Computes the hash of the password in NFC, as the sealed format does.
fn argon2id(password: &str, salt: &[u8], cost: Argon2Cost) -> Option<Zeroizing<[u8; HASH_LEN]>> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes.into(), Some(HASH_LEN)).ok()?;
    // The buffer never grows: NFC increases the length at most threefold.
    let mut text = Zeroizing::new(String::with_capacity(3 * password.len()));
    text.extend(password.nfc());
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    let mut blocks = Zeroizing::new(Vec::new());
    blocks.try_reserve_exact(params.block_count()).ok()?;
    blocks.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(text.as_bytes(), salt, hash.as_mut_slice(), blocks.as_mut_slice())
        .ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_verifies() {
        let hash = PasswordHash::new("pässword", Argon2Cost::MINIMUM).unwrap();
        let read = PasswordHash::parse(&hash.to_string()).unwrap();
        assert_eq!(read, hash);
        assert!(read.verify("pa\u{308}ssword"));
        for wrong in ["", "pässwor", "pässword ", "password"] {
            assert!(!read.verify(wrong), "{wrong}");
        }
        assert!(!PasswordHash::of_nobody(Argon2Cost::MINIMUM).verify(""));
    }

    /// Made by the reference implementation, with argon2-cffi.
    #[test]
    fn the_hash_of_another_implementation_verifies() {
        let text = "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$GYbLuujpP8d4s64Z62Nb7xCVgGhyuP5dYNeOx26Wr0E";
        assert!(PasswordHash::parse(text).unwrap().verify("pw"));
    }

    #[test]
    fn another_algorithm_and_an_unbounded_cost_are_refused() {
        let good = PasswordHash::new("p", Argon2Cost::MINIMUM).unwrap().to_string();
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("m=64", "m=262145"),
            ("t=1", "t=11"),
            ("t=1", "t=0"),
            ("p=1", "p=17"),
            ("p=1", "p=1,x=1"),
            ("v=19", "v=16"),
            ("m=64,t=1", "t=1,m=64"),
        ] {
            assert!(PasswordHash::parse(&good.replace(from, to)).is_none(), "{to}");
        }
        assert!(PasswordHash::parse(&format!("{good}$")).is_none());
        assert!(PasswordHash::parse("").is_none());
    }
}
