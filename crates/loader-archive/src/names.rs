//! Names of members and digests.

use crate::Error;
use sha2::{Digest, Sha256};

/// SHA-256 of a member's normalized name: a key of fixed size, so that long names
/// take no memory.
pub(crate) type NameKey = [u8; 32];

/// Returns a member's name without `./` and without leading, double and trailing
/// slashes.
///
/// # Errors
/// [`Error::Unsupported`] if it contains `..`: no tool writes such a name.
pub(crate) fn normalize(name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut normalized = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." {
            return Err(Error::Unsupported(format!("{}: a name with .. in it", shown(name))));
        }
        if !normalized.is_empty() {
            normalized.push(b'/');
        }
        normalized.extend(part);
    }
    Ok(normalized)
}

/// Returns the key of a normalized name.
pub(crate) fn key(normalized: &[u8]) -> NameKey {
    Sha256::digest(normalized).into()
}

/// Returns the target of a symbolic link called `link` from the root of the
/// archive, or `None` if it leaves the archive.
pub(crate) fn link_target(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let is_absolute = target.starts_with(b"/");
    let directory = link.iter().rposition(|byte| *byte == b'/').filter(|_| !is_absolute).unwrap_or(0);
    let mut parts: Vec<&[u8]> = split(&link[..directory]).collect();
    for part in split(target) {
        match part {
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Maximum number of bytes of a name in a message. A message may be kept for every
/// layer, so that it must not grow with a name.
const SHOWN_MAX: usize = 256;

/// Returns a name for messages; a long one is cut.
pub(crate) fn shown(name: &[u8]) -> String {
    match name.get(..SHOWN_MAX) {
        Some(start) if name.len() > SHOWN_MAX => format!("{}...", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}

/// Parses `sha256:` and 64 digits.
///
/// # Errors
/// [`Error::Unsupported`] for another algorithm, [`Error::Malformed`] for anything
/// else; `document` names the place.
pub(crate) fn parse_digest(document: &str, text: &str) -> Result<[u8; 32], Error> {
    match text.split_once(':') {
        Some(("sha256", digits)) => {
            parse_hex(digits).ok_or_else(|| Error::malformed(document, format_args!("{text} is no SHA-256 digest")))
        }
        Some((algorithm @ ("sha512" | "sha384" | "blake3"), _)) => {
            Err(Error::Unsupported(format!("{document}: {algorithm} digests; only sha256 is supported")))
        }
        _ => Err(Error::malformed(document, format_args!("{text} is no digest"))),
    }
}

/// Parses 64 lower-case hexadecimal digits.
pub(crate) fn parse_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Formats a digest as `sha256:` and 64 digits.
pub(crate) fn format_digest(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(digest))
}

/// Returns the digest that a member's name promises for its content:
/// `blobs/sha256/<digits>`, and for a config `<digits>.json` or `sha256:<digits>`.
pub(crate) fn promised_digest(normalized: &[u8]) -> Option<[u8; 32]> {
    let name = std::str::from_utf8(normalized).ok()?;
    let config = || name.strip_suffix(".json").or_else(|| name.strip_prefix("sha256:"));
    parse_hex(name.strip_prefix("blobs/sha256/").or_else(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized() {
        assert_eq!(normalize(b"./a//b/").unwrap(), b"a/b");
        assert_eq!(normalize(b"/manifest.json").unwrap(), b"manifest.json");
        assert!(normalize(b"a/../manifest.json").is_err());
        assert_eq!(link_target(b"a/layer.tar", b"../b/layer.tar").as_deref(), Some(&b"b/layer.tar"[..]));
        assert_eq!(link_target(b"a/layer.tar", b"/b/layer.tar").as_deref(), Some(&b"b/layer.tar"[..]));
        assert_eq!(link_target(b"a/b/x", b"./y").as_deref(), Some(&b"a/b/y"[..]));
        assert_eq!(link_target(b"x", b"../y"), None);
    }

    #[test]
    fn long_names_are_cut_in_messages() {
        assert_eq!(shown(&[b'x'; 256]).len(), 256);
        assert_eq!(shown(&[b'x'; 257]).len(), 259);
        assert!(shown(&[0xff; 1 << 20]).len() < 1000);
    }

    #[test]
    fn digests_in_names() {
        let digits = "a1".repeat(32);
        let digest = parse_hex(&digits).unwrap();
        assert_eq!(hex::encode(digest), digits);
        assert_eq!(promised_digest(format!("blobs/sha256/{digits}").as_bytes()), Some(digest));
        assert_eq!(promised_digest(format!("{digits}.json").as_bytes()), Some(digest));
        assert_eq!(promised_digest(format!("sha256:{digits}").as_bytes()), Some(digest));
        assert_eq!(promised_digest(format!("{digits}/json").as_bytes()), None);
        assert_eq!(promised_digest(format!("x/{digits}.json").as_bytes()), None);
        assert!(parse_digest("x", &format!("sha256:{}", digits.to_uppercase())).is_err());
        assert!(matches!(parse_digest("x", "sha512:00"), Err(Error::Unsupported(_))));
    }
}
