//! A small part as it is published: a line with the receipt of both parts, then
//! the part. Its digest is in the receipt, so both change; that of the big part
//! does not.

use crate::request::{Request, read_header};
use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::{Digest, Header, copy_digest, parts};
use loader_stage::{ErrorCode, Failure};
use std::io::{self, Read};

/// Longest published small part in bytes: the receipt, the part, and a header
/// that has grown.
const PUBLISHED_MAX: usize = PartsReceipt::LINE_MAX + parts::SMALL_MAX as usize + 65536;

/// A published small part with another header.
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
    /// True where the header has another length.
    pub(crate) moved: bool,
}

/// The whole of what begins with `head` and goes on in `rest`.
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

/// The same with other slots, and a receipt that fits.
pub(crate) fn rewrite(whole: &[u8], request: &Request, place: &str) -> Result<Rewritten, Failure> {
    let (mut receipt, small) = match PartsReceipt::split_prefix(whole) {
        Some(Ok(taken)) => taken,
        _ => return Err(Failure::new(ErrorCode::Malformed, format_args!("{place}: the receipt cannot be read"))),
    };
    if part_receipt(&digest(small)) != receipt.small {
        let why = format_args!("{place}: the small part is not the one of its receipt");
        return Err(Failure::new(ErrorCode::DigestMismatch, why)
            .hint("a part of another release, or a damaged one: fetch it again".to_owned()));
    }
    let mut rest = small;
    let old = read_header(&mut rest, place, false)?;
    let header = request.apply(&old, place, 0)?;
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
