//! Encoding of fragments as bytes and as lines of text.

use super::{Fragment, Scheme, SetId};
use crate::bech32m::{self, Case};
use crate::key::{content_lines, has_prefix_ignore_case};
use crate::{Error, Key, KeyId};
use zeroize::Zeroizing;

const FRAGMENT_HRP: &str = "az-frag-";
/// First byte of the data in a fragment line.
const FRAGMENT_VERSION: u8 = 1;

impl Fragment {
    /// Length in bytes: version, scheme, k, n, index (1 each), set id 8, key id 16,
    /// share 32.
    pub const LEN: usize = 61;

    /// First characters of every fragment line.
    pub const LINE_START: &'static str = "AZ-FRAG-1";

    /// Decodes the bytes of a fragment.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another version or scheme; [`Error::Malformed`] if
    /// threshold, number of fragments and index do not match.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, Error> {
        let [version, scheme, k, n, index, ..] = *bytes;
        if version != FRAGMENT_VERSION {
            return Err(Error::Unsupported(format!("fragment version {version}")));
        }
        let scheme =
            Scheme::from_byte(scheme).ok_or_else(|| Error::Unsupported(format!("fragment scheme {scheme}")))?;
        scheme.check_size(k, n)?;
        if index == 0 || index > n {
            return Err(Error::malformed("the index of the fragment is outside its set"));
        }
        let mut set = SetId([0; SetId::LEN]);
        let mut key_id = [0; KeyId::LEN];
        let mut share = Zeroizing::new([0; Key::LEN]);
        let (set_bytes, rest) = bytes[5..].split_at(SetId::LEN);
        let (key_id_bytes, share_bytes) = rest.split_at(KeyId::LEN);
        set.0.copy_from_slice(set_bytes);
        key_id.copy_from_slice(key_id_bytes);
        share.copy_from_slice(share_bytes);
        Ok(Self { scheme, k, n, index, set, key_id: KeyId::from_bytes(key_id), share })
    }

    /// Encodes the fragment, 61 bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        let (head, rest) = bytes.split_at_mut(5);
        let (set, rest) = rest.split_at_mut(SetId::LEN);
        let (key_id, share) = rest.split_at_mut(KeyId::LEN);
        head.copy_from_slice(&[FRAGMENT_VERSION, self.scheme.to_byte(), self.k, self.n, self.index]);
        set.copy_from_slice(self.set.as_bytes());
        key_id.copy_from_slice(self.key_id.as_bytes());
        share.copy_from_slice(self.share.as_slice());
        bytes
    }

    /// Returns the fragment line, `AZ-FRAG-1…`, without a newline.
    pub fn to_text(&self) -> Zeroizing<String> {
        bech32m::encode(FRAGMENT_HRP, self.to_bytes().as_slice(), Case::Upper)
    }

    /// Parses a fragment line without white space around it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the line is damaged or not a fragment line, and the errors of
    /// [`Fragment::from_bytes`].
    pub fn parse(line: &str) -> Result<Self, Error> {
        if !has_prefix_ignore_case(line, Self::LINE_START) {
            let is_key = has_prefix_ignore_case(line, Key::LINE_START);
            return Err(Error::malformed(if is_key {
                "a key where a fragment belongs"
            } else {
                "not a fragment line"
            }));
        }
        Self::from_bytes(&*bech32m::decode::<{ Self::LEN }>(FRAGMENT_HRP, line)?)
    }

    /// Parses a document with at least one fragment line. Returns the fragments in order.
    /// Empty lines, lines that start with `#`, white space around a line, and CR LF are
    /// allowed.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no fragment line, and the errors of
    /// [`Fragment::parse`]; the message contains the number of the line and none of its
    /// text.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        // Allocated in full: a reallocation would leave unwiped shares in memory.
        let mut fragments = Vec::with_capacity(content_lines(text).count());
        for (number, line) in content_lines(text) {
            fragments.push(Self::parse(line).map_err(|error| error.with_line(number))?);
        }
        if fragments.is_empty() { Err(Error::malformed("no fragment line")) } else { Ok(fragments) }
    }
}
