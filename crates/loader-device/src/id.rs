//! The hardware id.

use crate::inventory::{HardwareSource, Inventory, SourceState};
use crate::{Error, Strength};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::Path;
use zeroize::Zeroizing;

/// Key of the HMAC: name and version of the id.
const HWID_KEY: &[u8] = b"azs/hwid/v1";

/// Returns the hardware id, 32 bytes, of the system whose root directory is `sysroot`; `/` for
/// the running system.
///
/// # Errors
/// Those of [`Inventory::id`].
pub fn hardware_id(sysroot: &Path) -> Result<[u8; 32], Error> {
    Inventory::read(sysroot).id()
}

/// Returns the hardware id, 32 bytes, on the first line of `text` that consists of 64
/// hexadecimal digits; `None` if there is no such line.
pub fn id_from_text(text: &[u8]) -> Option<[u8; 32]> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    decode_hex(lines.find(|line| line.len() == 64 && line.iter().all(u8::is_ascii_hexdigit))?)
}

impl Inventory {
    /// Returns the hardware id, 32 bytes: HMAC-SHA-256 with the key `azs/hwid/v1` over a line
    /// `name=value` with its newline for each used value, sorted by bytes
    /// (crates/loader-seal/README.md, section "Sealed to a user and a device").
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a source exists and cannot be read;
    /// [`Error::NoStrongSource`] if no used source is strong.
    pub fn id(&self) -> Result<[u8; 32], Error> {
        for source in &self.sources {
            if let SourceState::Unreadable(reason) = &source.state {
                let (path, reason) = (source.path.clone(), reason.clone());
                return Err(Error::Unreadable { name: source.name, path, reason });
            }
        }
        let is_strong = |source: &HardwareSource| source.strength == Strength::Strong;
        if !self.sources.iter().any(|source| source.state == SourceState::Used && is_strong(source)) {
            return Err(Error::NoStrongSource { rejected: self.rejected() });
        }
        let mut lines: Vec<_> = self.sources.iter().filter_map(hashed_line).collect();
        lines.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(hmac(HWID_KEY, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()))
    }

    /// Returns the strong sources with the reason why each is not used, for a message.
    fn rejected(&self) -> String {
        let strong = self.sources.iter().filter(|source| source.strength == Strength::Strong);
        let described = strong.map(|source| match source.state.reason() {
            Some(reason) => format!("{} ({reason})", source.name),
            None => format!("{} ({})", source.name, source.state.as_str()),
        });
        described.collect::<Vec<_>>().join(", ")
    }
}

/// Returns the line `name=value` with its newline; `None` for a source that is not used.
pub(crate) fn hashed_line(source: &HardwareSource) -> Option<Zeroizing<String>> {
    let value = source.value.as_ref()?;
    Some(Zeroizing::new(format!("{}={}\n", source.name, value.as_str())))
}

/// Returns HMAC-SHA-256 over the concatenated parts.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Returns the `N` bytes that exactly `2 * N` hexadecimal digits encode.
pub(crate) fn decode_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}
