//! Changing a published small part: a line with the receipt of both parts, and the small
//! part. The receipt contains the digest of the small part, so it changes too.

use crate::change::{KeyChange, read_header};
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::{Digest, Header, copy_digest, parts};
use loader_stage::{ErrorCode, Failure};
use std::io::{self, Read};

/// Maximum length of a published small part in bytes: the receipt, the part, and additional
/// bytes of a longer header.
const PUBLISHED_MAX: usize = PartsReceipt::LINE_MAX + parts::SMALL_MAX as usize + 65536;

/// Published small part with a changed header.
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
    /// True if the length of the header has changed, which moves the stream.
    pub(crate) moved: bool,
}

/// Reads a published small part whose first bytes, `head`, were already read.
///
/// # Errors
/// `malformed` if it is too long; `io`.
pub(crate) fn read(head: Vec<u8>, rest: impl Read, place: &str) -> Result<Vec<u8>, Failure> {
    let mut whole = head;
    let left = (PUBLISHED_MAX + 1 - whole.len()) as u64;
    rest.take(left).read_to_end(&mut whole).map_err(|error| Failure::io(place, &error))?;
    if whole.len() > PUBLISHED_MAX {
        let why = format_args!("{place}: longer than a published small part can be");
        return Err(Failure::new(ErrorCode::Malformed, why));
    }
    Ok(whole)
}

/// Changes the keys in the header, and updates the receipt.
///
/// # Errors
/// `malformed` if the receipt is invalid; `digest_mismatch` if it does not match the part;
/// the errors of [`read_header`] and [`KeyChange::apply`].
pub(crate) fn rewrite(whole: &[u8], change: &KeyChange, place: &str) -> Result<Rewritten, Failure> {
    let (mut receipt, small) = match PartsReceipt::split_prefix(whole) {
        Some(Ok(taken)) => taken,
        _ => return Err(Failure::new(ErrorCode::Malformed, format_args!("{place}: the receipt is not valid"))),
    };
    if part_receipt(&digest(small)) != receipt.small {
        let why = format_args!("{place}: the small part does not match its receipt");
        return Err(Failure::new(ErrorCode::DigestMismatch, why)
            .hint("the part is damaged or from another release: fetch it again".to_owned()));
    }
    let mut rest = small;
    let old = read_header(&mut rest, place, false)?;
    let header = change.apply(&old, place, 0)?;
    let small = [header.as_bytes(), rest].concat();
    receipt.small = part_receipt(&digest(&small));
    let bytes = [receipt.to_line(), small].concat();
    let moved = header.as_bytes().len() != old.as_bytes().len();
    Ok(Rewritten { bytes, header, moved })
}

fn digest(bytes: &[u8]) -> Digest {
    copy_digest(bytes, io::sink()).unwrap_or(Digest { len: 0, sha256: [0; 32] })
}

fn part_receipt(digest: &Digest) -> PartReceipt {
    PartReceipt { size: digest.len, sha256: digest.hex() }
}
