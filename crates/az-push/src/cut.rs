//! The cut of a stream into its small part, in memory, and the rest, unread.

use loader_model::PartReceipt;
use loader_seal::parts::{SMALL_MAX, check_len, small_len, split_id};
use loader_seal::{Digest, Header, copy_digest};
use loader_stage::{ErrorCode, Failure, Input, OrFail};
use std::io::{self, Read};

/// From this length of the whole on, in bytes, the small part is as long as it
/// ever gets, so that nothing behind it decides where the cut is.
const WHOLE_MAX: u64 = SMALL_MAX * 10 / 3 + 1;

/// A stream after the cut.
pub(crate) struct Cut {
    pub(crate) header: Header,
    /// The small part.
    pub(crate) small: Vec<u8>,
    /// What was read beyond it.
    ahead: io::Cursor<Vec<u8>>,
}

impl Cut {
    /// Reads as much of `input` as it takes to know where the cut is.
    pub(crate) fn read(input: &mut Input) -> Result<Self, Failure> {
        let name = input.name().to_owned();
        let header = Header::read(input).or_fail(&name, |error| error.code())?;
        let header_len = header.as_bytes().len() as u64;
        let known = header.sealed_len();
        let wanted = known.map_or(WHOLE_MAX, |whole| small_len(whole, header_len).min(WHOLE_MAX));
        let mut head = header.as_bytes().to_vec();
        let missing = wanted.saturating_sub(header_len);
        input.by_ref().take(missing).read_to_end(&mut head).map_err(|error| Failure::io(&name, &error))?;
        let cut = known.map_or_else(|| small_len(head.len() as u64, header_len), |_| wanted);
        if (head.len() as u64) < cut {
            let what = format_args!("{name}: truncated: the input ends at byte {}", head.len());
            return Err(Failure::new(ErrorCode::Truncated, what));
        }
        let ahead = head.split_off(cut as usize);
        head.shrink_to_fit();
        Ok(Self { header, small: head, ahead: io::Cursor::new(ahead) })
    }

    /// Names the file and the place of the cut.
    pub(crate) fn name(&self) -> String {
        split_id(&self.header, self.small.len() as u64)
    }

    /// Size and digest of the small part.
    pub(crate) fn small_receipt(&self) -> Result<PartReceipt, Failure> {
        digest(&self.small[..]).map(|digest| receipt(&digest))
    }

    /// The big part, to be read once: what was read ahead, then the rest of `input`.
    pub(crate) fn big<'a>(&'a mut self, input: &'a mut Input) -> Big<'a> {
        Big { ahead: &mut self.ahead, input }
    }

    /// Checks the length of the big part against the header, where that tells.
    pub(crate) fn check_len(&self, name: &str, big_len: u64) -> Result<(), Failure> {
        let len = self.small.len() as u64 + big_len;
        match self.header.sealed_len() {
            Some(declared) if len < declared => Err(Failure::new(
                ErrorCode::Truncated,
                format_args!("{name}: truncated: {len} of {declared} bytes; nothing was published"),
            )),
            Some(declared) if len > declared => Err(Failure::new(
                ErrorCode::Trailing,
                format_args!("{name}: bytes after the end of the stream, from offset {declared}"),
            )),
            _ if big_len == 0 => Err(Failure::new(
                ErrorCode::Truncated,
                format_args!("{name}: truncated: nothing after the first {len} bytes"),
            )),
            _ => check_len(&self.header, len).or_fail(name, |error| error.code()),
        }
    }
}

/// The big part as it is read.
pub(crate) struct Big<'a> {
    ahead: &'a mut io::Cursor<Vec<u8>>,
    input: &'a mut Input,
}

impl Read for Big<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.ahead.read(buf)? {
            0 => {
                // Megabytes that nobody needs any more.
                *self.ahead = io::Cursor::default();
                self.input.read(buf)
            }
            read => Ok(read),
        }
    }
}

/// Length and digest of what `input` has.
pub(crate) fn digest(input: impl Read) -> Result<Digest, Failure> {
    copy_digest(input, io::sink()).or_fail("input", |error| error.code())
}

pub(crate) fn receipt(digest: &Digest) -> PartReceipt {
    PartReceipt { size: digest.len, sha256: digest.hex() }
}
