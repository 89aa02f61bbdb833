//! The hardware id.

use crate::inventory::{Inventory, Source, State, read};
use crate::{Error, Strength};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::Path;
use zeroize::Zeroizing;

/// Key of the HMAC: the name and version of the id.
const HWID_KEY: &[u8] = b"azs/hwid/v1";

/// The hardware id of the system whose root is `sysroot`, `/` for this one: 32
/// bytes.
///
/// # Errors
/// Those of [`Inventory::id`].
pub fn hardware_id(sysroot: &Path) -> Result<[u8; 32], Error> {
    read(sysroot).id()
}

/// The 32 bytes of a hardware id on the first line that is 64 hexadecimal digits
/// and nothing else; `None` without such a line.
pub fn id_from_text(text: &[u8]) -> Option<[u8; 32]> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    from_hex(lines.find(|line| line.len() == 64 && line.iter().all(u8::is_ascii_hexdigit))?)
}

impl Inventory {
    /// The hardware id: HMAC-SHA-256 with the key `azs/hwid/v1` over one line
    /// `name=value` and a newline for each value used, sorted by bytes (format:
    /// keys and fragments, hardware id). 32 bytes.
    ///
    /// # Errors
    /// [`Error::Unreadable`] where a source is there and cannot be read;
    /// [`Error::NoStrongSource`] where none that is used is strong.
    pub fn id(&self) -> Result<[u8; 32], Error> {
        for source in &self.sources {
            if let State::Unreadable(why) = &source.state {
                let (place, why) = (source.place.clone(), why.clone());
                return Err(Error::Unreadable { name: source.name, place, why });
            }
        }
        if !self.sources.iter().any(|source| source.state == State::Used && source.strength == Strength::Strong) {
            return Err(Error::NoStrongSource { rejected: self.rejected() });
        }
        let mut lines: Vec<_> = self.sources.iter().filter_map(line).collect();
        lines.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(hmac(HWID_KEY, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()))
    }

    /// Each strong source with what is wrong with it.
    fn rejected(&self) -> String {
        let strong = self.sources.iter().filter(|source| source.strength == Strength::Strong);
        let described = strong.map(|source| match source.state.reason() {
            Some(reason) => format!("{} ({reason})", source.name),
            None => format!("{} ({})", source.name, source.state.as_str()),
        });
        described.collect::<Vec<_>>().join(", ")
    }
}

/// The line of a source that is used.
pub(crate) fn line(source: &Source) -> Option<Zeroizing<String>> {
    let value = source.value.as_ref()?;
    Some(Zeroizing::new(format!("{}={}\n", source.name, value.as_str())))
}

/// HMAC-SHA-256 over the parts, one after another.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// `N` bytes from twice as many hexadecimal digits.
pub(crate) fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut values = digits.iter().map(|digit| (*digit as char).to_digit(16));
    let mut bytes = [0; N];
    for byte in &mut bytes {
        *byte = (values.next()?? << 4 | values.next()??) as u8;
    }
    values.next().is_none().then_some(bytes)
}
