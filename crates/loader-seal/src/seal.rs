//! Sealing a stream.

use crate::cipher::{SegmentCipher, stream_header};
use crate::header::read_while_wanted;
use crate::key::random;
use crate::layout::{Layout, SEGMENT_LOG2};
use crate::metadata::Tlvs;
use crate::rekey::spare_room;
use crate::slot::FileKey;
use crate::{Error, Header, Key, KeySlot, Metadata, Suite, Unlocked, ordered};
use loader_pipe::Sink;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use zeroize::Zeroizing;

/// How a stream is sealed.
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// The cipher; AES-256-GCM by default.
    pub suite: Suite,
    /// log2 of a segment's length in bytes, 12..=24; 20 by default.
    pub segment_log2: u8,
    /// Length of the plaintext in bytes, where it is known; it goes into the
    /// header and is checked.
    pub plaintext_len: Option<u64>,
    /// What the header says of the content.
    pub metadata: Metadata,
    /// Slots that the header leaves room for, so that the first keys added later
    /// need not move the stream; 4 by default.
    pub spare_slots: usize,
    /// Threads that seal; 1 by default.
    pub threads: usize,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            suite: Suite::AesGcm,
            segment_log2: 20,
            plaintext_len: None,
            metadata: Metadata::default(),
            spare_slots: 4,
            threads: 1,
        }
    }
}

/// Seals `input`, read to its end, to `output` for every key in `keys`. Gives
/// the header that was written and the length of the plaintext in bytes. Memory
/// is one [`loader_pipe::Buffer`] a thread.
///
/// # Errors
/// [`Error::Malformed`] for no key, a segment length out of bounds or fields too
/// long for a header; [`Error::LengthMismatch`] where the input is not as long as
/// `options` say (what was written then does not open); [`Error::Unsupported`]
/// past 2^32 segments; [`Error::Read`], [`Error::Write`], [`Error::Random`].
pub fn seal(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    keys: &[Key],
    options: &SealOptions,
) -> Result<(Header, u64), Error> {
    if keys.is_empty() {
        return Err(Error::malformed("no key to seal for"));
    }
    let file_id = random_array()?;
    let file_key = Zeroizing::new(random_array()?);
    let slots = keys.iter().map(|key| KeySlot::wrap(&file_key, key, &file_id));
    let tlvs = Tlvs {
        key_slots: slots.collect::<Result<_, _>>()?,
        metadata: options.metadata.clone(),
        others: Vec::from_iter(spare_room(options.spare_slots)),
        ..Tlvs::default()
    };
    seal_with(input, output, options, &file_id, &file_key, &tlvs)
}

/// Seals under a file key whose slots are made already.
pub(crate) fn seal_with(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    options: &SealOptions,
    file_id: &[u8; 16],
    file_key: &FileKey,
    tlvs: &Tlvs,
) -> Result<(Header, u64), Error> {
    if !SEGMENT_LOG2.contains(&options.segment_log2) {
        return Err(Error::malformed("the segment length is not 2^12 to 2^24 bytes"));
    }
    let layout = Layout { suite: options.suite, segment_len: 1 << options.segment_log2, header_len: 0 };
    let unlocked = Header::build(layout, options.plaintext_len, file_id, file_key, tlvs)?;
    let plaintext_len = write_stream(input, output, options, &unlocked)?;
    Ok((unlocked.header().clone(), plaintext_len))
}

fn write_stream(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    options: &SealOptions,
    unlocked: &Unlocked,
) -> Result<u64, Error> {
    let header = unlocked.header();
    let layout = *header.layout();
    let stream_header = stream_header()?;
    let cipher = SegmentCipher::new(layout.suite, unlocked.stream_key(), &stream_header, header.bound())
        .ok_or(Error::malformed("the stream header"))?;
    let head = [header.as_bytes(), &stream_header].concat();
    output.write_all(&head).map_err(Error::Write)?;
    let declared = options.plaintext_len;
    let mut segments = Segments::new(input, 0);
    ordered::run(
        options.threads,
        output.memory(),
        layout.segment_len,
        |buffer, stopped| {
            let Some(read) = segments.next(buffer, layout.capacity(segments.index), stopped)? else { return Ok(None) };
            let actual = segments.bytes;
            match declared {
                Some(declared) if read.last && actual != declared || actual > declared => {
                    Err(Error::LengthMismatch { declared, actual })
                }
                _ => Ok(Some(read)),
            }
        },
        |read, buffer| {
            let sealed = cipher.seal(read.index, read.last, buffer, read.len);
            sealed.map(|len| 0..len).ok_or_else(|| Error::Unsupported("more than 2^32 segments".to_owned()))
        },
        |buffer, range| output.write_from(buffer, range).map_err(Error::Write),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(segments.bytes)
}

/// Cuts an input into segments. One byte is read ahead, so that the last segment
/// is known for the last.
pub(crate) struct Segments<'a, R> {
    input: &'a mut R,
    pub(crate) index: u64,
    /// Bytes of all segments given so far.
    pub(crate) bytes: u64,
    ahead: Option<u8>,
    ended: bool,
}

/// A segment in the buffer.
pub(crate) struct Segment {
    pub(crate) index: u64,
    pub(crate) len: usize,
    pub(crate) last: bool,
}

impl<'a, R: Read> Segments<'a, R> {
    pub(crate) fn new(input: &'a mut R, index: u64) -> Self {
        Self { input, index, bytes: 0, ahead: None, ended: false }
    }

    /// Fills `buffer`, which holds at least `full + 1` bytes, with up to `full`
    /// bytes; `None` behind the last segment. An empty input is one empty segment.
    /// Once `stopped`, what it gives is of no use.
    pub(crate) fn next(
        &mut self,
        buffer: &mut [u8],
        full: usize,
        stopped: &AtomicBool,
    ) -> Result<Option<Segment>, Error> {
        if self.ended {
            return Ok(None);
        }
        let carried = usize::from(self.ahead.is_some());
        if let Some(byte) = self.ahead.take() {
            buffer[0] = byte;
        }
        let got = carried + read_while_wanted(self.input, &mut buffer[carried..=full], stopped)?;
        let segment = Segment { index: self.index, len: got.min(full), last: got <= full };
        if !segment.last {
            self.ahead = Some(buffer[full]);
        }
        self.ended = segment.last;
        self.index += 1;
        self.bytes += segment.len as u64;
        Ok(Some(segment))
    }
}

pub(crate) fn random_array<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_an_id_and_a_key_of_its_own() {
        let key = Key::generate().unwrap();
        let drawn = || {
            let (header, _) =
                seal(&mut &b""[..], &mut Vec::new(), std::slice::from_ref(&key), &SealOptions::default()).unwrap();
            let file_key = header.file_key(std::slice::from_ref(&key)).unwrap();
            (header.file_id().to_vec(), file_key.to_vec())
        };
        let ((one_id, one_key), (other_id, other_key)) = (drawn(), drawn());
        assert!(one_id != other_id && one_key != other_key);
    }
}
