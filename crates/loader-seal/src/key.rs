//! Keys and key ids: generation, derivation, text form.

use crate::Error;
use crate::bech32m::{self, Case};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{ZeroizeOnDrop, Zeroizing};

const KEY_HRP: &str = "az-secret-key-";
const KEY_ID_HRP: &str = "azkey";
/// First byte of the data in a key line.
const KEY_VERSION: u8 = 1;

/// Key, 32 random bytes. It is wiped when it is dropped, compared in constant time, and
/// not shown by `Debug` (crates/loader-seal/README.md, "Keys").
#[derive(ZeroizeOnDrop)]
pub struct Key([u8; Key::LEN]);

impl Key {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// First characters of every key line.
    pub const LINE_START: &'static str = "AZ-SECRET-KEY-1";

    /// Generates a key with the random number generator of the operating system.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self([0; Self::LEN]);
        fill_random(&mut key.0)?;
        Ok(key)
    }

    /// Returns the key with these 32 bytes.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Derives the key from a fragment without text form: the SHA-256 of its bytes, which
    /// are neither trimmed nor decoded.
    pub fn from_raw_fragment(fragment: &[u8]) -> Self {
        Self(Sha256::digest(fragment).into())
    }

    /// Returns the 32 secret bytes of the key.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Parses a document with exactly one key line. Empty lines, lines that start with
    /// `#`, white space around a line, and CR LF are allowed.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no key line, more than one, or an invalid line; the
    /// message contains the number of the line and none of its text.
    /// [`Error::Unsupported`] for a key of a later version.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = content_lines(text);
        let (number, line) = lines.next().ok_or(Error::malformed("no key line"))?;
        let key = Self::parse_line(line).map_err(|error| error.with_line(number))?;
        match lines.next() {
            None => Ok(key),
            Some((number, _)) => Err(Error::malformed("a second line after the key").with_line(number)),
        }
    }

    fn parse_line(line: &str) -> Result<Self, Error> {
        if !has_prefix_ignore_case(line, Self::LINE_START) {
            let is_fragment = has_prefix_ignore_case(line, "AZ-FRAG-1");
            return Err(Error::malformed(if is_fragment {
                "a fragment where a key belongs; join the fragments first"
            } else {
                "not a key line"
            }));
        }
        let data = bech32m::decode::<{ 1 + Self::LEN }>(KEY_HRP, line)?;
        let (version, bytes) = data.split_at(1);
        if version != [KEY_VERSION] {
            return Err(Error::Unsupported(format!("key version {}", version[0])));
        }
        let mut key = Self([0; Self::LEN]);
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// Returns the key line, `AZ-SECRET-KEY-1…`, without a newline.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut data = Zeroizing::new([KEY_VERSION; 1 + Self::LEN]);
        data[1..].copy_from_slice(&self.0);
        bech32m::encode(KEY_HRP, data.as_slice(), Case::Upper)
    }

    /// Returns the public id: HKDF(key, "", "azs/v1/key-id", 16).
    pub fn id(&self) -> KeyId {
        KeyId(*hkdf(&self.0, b"", &[b"azs/v1/key-id"]))
    }
}

impl ConstantTimeEq for Key {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Public id of a key, 16 bytes; as text `azkey1…`, lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KeyId::LEN]);

impl KeyId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Returns the id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32m::encode(KEY_ID_HRP, &self.0, Case::Lower))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = Error;

    /// Parses `azkey1…`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        bech32m::decode(KEY_ID_HRP, text).map(|bytes| Self(*bytes))
    }
}

/// Derives `N` bytes, at most 8160, with HKDF-SHA-256 (RFC 5869) from `key`, `salt` and the
/// concatenation of `info`. An empty salt is the same as 32 zeros.
pub(crate) fn hkdf<const N: usize>(key: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF derives at most 255 blocks") };
    let mut out = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand_multi_info(info, out.as_mut_slice())
        .expect("the compiler has checked the length");
    out
}

/// Fills `out` with random bytes from the operating system.
///
/// # Errors
/// [`Error::Random`].
pub(crate) fn fill_random(out: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(out).map_err(|error| Error::Random(error.into()))
}

/// Returns the trimmed lines of a document with their numbers, from 1, without empty lines
/// and comments.
pub(crate) fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Returns true if `line` starts with `prefix`, ignoring ASCII case.
pub(crate) fn has_prefix_ignore_case(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader_model::Coded;

    const LINE: &str = "AZ-SECRET-KEY-1QXNTWHGFXVRSZNQMLKU4EAC9M0GWGUPKKVH79HFPYALVJYX7D5ZUWWK3X5N";

    #[test]
    fn key_document_may_have_comments_and_any_line_ends() {
        let texts =
            [LINE.to_owned(), format!("{LINE}\n"), format!("# k\r\n\r\n \t{LINE} \r\n# end"), LINE.to_lowercase()];
        for text in texts {
            assert_eq!(*Key::parse(&text).unwrap().to_text(), LINE);
        }
    }

    #[test]
    fn error_for_invalid_document_contains_line_number() {
        let message = |text: &str| Key::parse(text).unwrap_err().to_string();
        assert_eq!(message("# only this\n"), "no key line");
        assert_eq!(message(&format!("{LINE}\n\n{LINE}")), "line 3: a second line after the key");
        assert_eq!(message("\nhunter2"), "line 2: not a key line");
        assert_eq!(message(&LINE.replace("QXN", "QXM")), "line 1: the line is damaged: its checksum does not match");
        assert_eq!(message(&LINE.replace("QXN", "qXN")), "line 1: the line mixes upper and lower case");
        assert_eq!(message("AZ-FRAG-1QQ"), "line 1: a fragment where a key belongs; join the fragments first");
        let later = bech32m::encode(KEY_HRP, &[2; 33], Case::Upper);
        assert_eq!(Key::parse(&later).unwrap_err().code().as_str(), "unsupported");
        let long = bech32m::encode(KEY_HRP, &[1; 34], Case::Upper);
        assert_eq!(message(&long), "line 1: the line is undamaged but has the wrong length");
    }

    #[test]
    fn key_id_round_trips_and_is_not_a_key() {
        let key = Key::generate().unwrap();
        let id = key.id();
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        assert_eq!(format!("{id:?}"), id.to_string());
        assert!(Key::parse(&id.to_string()).is_err());
        assert!(key.to_text().parse::<KeyId>().is_err());
        assert_ne!(id, Key::generate().unwrap().id());
    }

    #[test]
    fn debug_hides_the_key() {
        assert_eq!(format!("{:?}", Key::from_bytes([7; 32])), "Key(..)");
    }

    #[test]
    fn hkdf_matches_the_rfc() {
        // RFC 5869 appendix A, test case 1, first 16 bytes.
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let salt: Vec<u8> = (0..=0x0c).collect();
        let out = hkdf::<16>(&[0x0b; 22], &salt, &[&info[..3], &info[3..]]);
        assert_eq!(u128::from_be_bytes(*out), 0x3cb2_5f25_faac_d57a_9043_4f64_d036_2f2a);
    }
}
