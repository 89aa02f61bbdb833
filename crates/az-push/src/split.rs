//! Splits a stream into its small part, in memory, and the unread rest.

use loader_model::PartReceipt;
use loader_seal::parts::{SMALL_MAX, check_len, small_len, split_id};
use loader_seal::{Digest, Header, copy_digest};
use loader_stage::{ErrorCode, Failure, Input, OrFail};
use std::io::{self, Read};

/// Length of a stream in bytes from which the small part has its maximum length. If this many
/// bytes are read, later ones do not change the split offset.
const FULL_SMALL_STREAM_LEN: u64 = SMALL_MAX * 10 / 3 + 1;

/// Stream that is split into two parts.
pub(crate) struct SplitStream {
    pub(crate) header: Header,
    /// The small part.
    pub(crate) small: Vec<u8>,
    /// Bytes that were read after the small part.
    ahead: io::Cursor<Vec<u8>>,
}

impl SplitStream {
    /// Reads `input` until the split offset is known.
    pub(crate) fn read(input: &mut Input) -> Result<Self, Failure> {
        let name = input.name().to_owned();
        let header = Header::read(input).or_fail_at(&name)?;
        let header_len = header.as_bytes().len() as u64;
        let known = header.sealed_len();
        let wanted =
            known.map_or(FULL_SMALL_STREAM_LEN, |whole| small_len(whole, header_len).min(FULL_SMALL_STREAM_LEN));
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

    /// Returns the split id: the file and the offset at which it is split.
    pub(crate) fn split_id(&self) -> String {
        split_id(&self.header, self.small.len() as u64)
    }

    /// Returns size and digest of the small part.
    pub(crate) fn small_receipt(&self) -> Result<PartReceipt, Failure> {
        digest(&self.small[..]).map(|digest| receipt(&digest))
    }

    /// Returns a reader for the big part, which can be read once: the bytes read ahead, then the
    /// rest of `input`.
    pub(crate) fn big<'a>(&'a mut self, input: &'a mut Input) -> BigPartReader<'a> {
        BigPartReader { ahead: &mut self.ahead, input }
    }

    /// Checks the length of the big part against the header, if the header contains a length.
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
            _ => check_len(&self.header, len).or_fail_at(name),
        }
    }
}

/// Reader for the big part.
pub(crate) struct BigPartReader<'a> {
    ahead: &'a mut io::Cursor<Vec<u8>>,
    input: &'a mut Input,
}

impl Read for BigPartReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.ahead.read(buf)? {
            0 => {
                // Free the memory: these are megabytes.
                *self.ahead = io::Cursor::default();
                self.input.read(buf)
            }
            read => Ok(read),
        }
    }
}

/// Returns length and digest of the bytes of `input`.
pub(crate) fn digest(input: impl Read) -> Result<Digest, Failure> {
    copy_digest(input, io::sink()).or_fail_at("input")
}

pub(crate) fn receipt(digest: &Digest) -> PartReceipt {
    PartReceipt { size: digest.len, sha256: digest.hex() }
}
