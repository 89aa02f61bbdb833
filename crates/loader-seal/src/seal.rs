//! Sealing a stream.

use crate::cipher::{SegmentCipher, new_stream_header};
use crate::fields::Fields;
use crate::key::fill_random;
use crate::layout::{SEGMENT_LOG2, StreamLayout};
use crate::rekey::spare_slots_field;
use crate::slot::FileKey;
use crate::{Error, Header, Key, KeySlot, Metadata, Suite, Unlocked};
use loader_pipe::{Sink, process_in_order};
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// Options for [`seal`].
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// The cipher; AES-256-GCM by default.
    pub suite: Suite,
    /// log2 of a segment's length in bytes, 12..=24; 20 by default.
    pub segment_log2: u8,
    /// Length of the plaintext in bytes, if it is known. It is written to the header and
    /// checked.
    pub plaintext_len: Option<u64>,
    /// Metadata for the header.
    pub metadata: Metadata,
    /// Number of key slots to reserve space for, so that keys can be added later without
    /// moving the stream; 4 by default.
    pub spare_slots: usize,
    /// Number of threads; 1 by default.
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

/// Reads `input` to its end and writes it, sealed for each of `keys`, to `output`.
/// Returns the header and the length of the plaintext in bytes. Uses one
/// [`loader_pipe::Buffer`] per thread.
///
/// # Errors
/// [`Error::Malformed`] if there is no key, the segment length is out of bounds, or the
/// fields do not fit in a header; [`Error::LengthMismatch`] if the input is not as long
/// as [`SealOptions::plaintext_len`] (the output cannot be opened then);
/// [`Error::Unsupported`] if there are more than 2^32 segments; [`Error::Read`],
/// [`Error::Write`], [`Error::Random`].
pub fn seal(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    keys: &[Key],
    options: &SealOptions,
) -> Result<(Header, u64), Error> {
    let file = NewFile::new(keys, options)?;
    seal_with(input, output, options, &file.id, &file.key, &file.fields)
}

/// Random values and fields of a new file.
pub(crate) struct NewFile {
    pub(crate) id: [u8; 16],
    pub(crate) key: FileKey,
    pub(crate) fields: Fields,
}

impl NewFile {
    /// Creates a new file key and a slot for each of `keys`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Random`].
    pub(crate) fn new(keys: &[Key], options: &SealOptions) -> Result<Self, Error> {
        if keys.is_empty() {
            return Err(Error::malformed("no key to seal for"));
        }
        let id = random_array()?;
        let key = Zeroizing::new(random_array()?);
        let slots = keys.iter().map(|reader| KeySlot::wrap(&key, reader, &id));
        let fields = Fields {
            key_slots: slots.collect::<Result<_, _>>()?,
            metadata: options.metadata.clone(),
            unknown: Vec::from_iter(spare_slots_field(options.spare_slots)),
            ..Fields::default()
        };
        Ok(Self { id, key, fields })
    }

    /// Builds the header.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(crate) fn header(&self, options: &SealOptions) -> Result<Unlocked, Error> {
        build_header(options, &self.id, &self.key, &self.fields)
    }
}

/// Seals with the given file key. `fields` contains the slots for it.
pub(crate) fn seal_with(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    options: &SealOptions,
    file_id: &[u8; 16],
    file_key: &FileKey,
    fields: &Fields,
) -> Result<(Header, u64), Error> {
    let unlocked = build_header(options, file_id, file_key, fields)?;
    let plaintext_len = write_stream(input, output, options, &unlocked)?;
    Ok((unlocked.header().clone(), plaintext_len))
}

fn build_header(
    options: &SealOptions,
    file_id: &[u8; 16],
    file_key: &FileKey,
    fields: &Fields,
) -> Result<Unlocked, Error> {
    if !SEGMENT_LOG2.contains(&options.segment_log2) {
        return Err(Error::malformed("the segment length is not 2^12 to 2^24 bytes"));
    }
    let layout = StreamLayout { suite: options.suite, segment_len: 1 << options.segment_log2, header_len: 0 };
    Header::build(layout, options.plaintext_len, file_id, file_key, fields)
}

fn write_stream(
    input: &mut (impl Read + Send),
    output: &mut (impl Sink + Send),
    options: &SealOptions,
    unlocked: &Unlocked,
) -> Result<u64, Error> {
    let header = unlocked.header();
    let layout = *header.layout();
    let stream_header = new_stream_header()?;
    let cipher = SegmentCipher::new(layout.suite, unlocked.stream_key(), &stream_header, &header.associated_data())
        .ok_or(Error::malformed("the stream header"))?;
    let head = [header.as_bytes(), &stream_header].concat();
    output.write_all(&head).map_err(Error::Write)?;
    let declared = options.plaintext_len;
    let mut segments = SegmentReader::new(input);
    process_in_order(
        options.threads,
        output.memory(),
        layout.segment_len,
        |buffer, stopped| {
            let capacity = layout.plaintext_capacity(segments.index);
            let Some(read) = segments.next(buffer, capacity, stopped)? else { return Ok(None) };
            let actual = segments.total_len;
            match declared {
                Some(declared) if read.last && actual != declared || actual > declared => {
                    Err(Error::LengthMismatch { declared, actual })
                }
                _ => Ok(Some(read)),
            }
        },
        || {
            |read: Segment, buffer: &mut [u8]| {
                let sealed = cipher.seal(read.index, read.last, buffer, read.len);
                sealed.map(|len| 0..len).ok_or_else(|| Error::Unsupported("more than 2^32 segments".to_owned()))
            }
        },
        |buffer, range| output.write_from(buffer, range).map_err(Error::Write),
    )?;
    output.flush().map_err(Error::Write)?;
    Ok(segments.total_len)
}

/// Reads an input segment by segment. Reads one byte ahead to detect the last segment.
pub(crate) struct SegmentReader<R> {
    input: R,
    /// Number of the next segment.
    pub(crate) index: u64,
    /// Length in bytes of all segments read so far.
    pub(crate) total_len: u64,
    /// Number of bytes of the next segment that are in the buffer.
    filled: usize,
    lookahead: Option<u8>,
    ended: bool,
}

/// Position and length of the segment in a buffer.
pub(crate) struct Segment {
    pub(crate) index: u64,
    pub(crate) len: usize,
    pub(crate) last: bool,
}

impl<R: Read> SegmentReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, index: 0, total_len: 0, filled: 0, lookahead: None, ended: false }
    }

    /// Reads the next segment like [`SegmentReader::fill`], and retries while the reader
    /// would block. If `stopped` becomes true then, returns `None`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn next(
        &mut self,
        buffer: &mut [u8],
        full_len: usize,
        stopped: &AtomicBool,
    ) -> Result<Option<Segment>, Error> {
        loop {
            match self.fill(buffer, full_len) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if stopped.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                }
                outcome => return outcome.map_err(Error::Read),
            }
        }
    }

    /// Reads the next segment, of up to `full_len` bytes, to the start of `buffer`, which
    /// has at least `full_len + 1` bytes. Returns `None` after the last segment. An empty
    /// input is one empty segment.
    ///
    /// # Errors
    /// Those of the input. After [`ErrorKind::WouldBlock`], the next call with the same
    /// buffer continues.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], full_len: usize) -> io::Result<Option<Segment>> {
        if self.ended {
            return Ok(None);
        }
        if let Some(byte) = self.lookahead.take() {
            buffer[0] = byte;
            self.filled = 1;
        }
        while self.filled <= full_len {
            match self.input.read(&mut buffer[self.filled..=full_len]) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let got = std::mem::take(&mut self.filled);
        let segment = Segment { index: self.index, len: got.min(full_len), last: got <= full_len };
        if !segment.last {
            self.lookahead = Some(buffer[full_len]);
        }
        self.ended = segment.last;
        self.index += 1;
        self.total_len += segment.len as u64;
        Ok(Some(segment))
    }
}

pub(crate) fn random_array<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_own_id_and_key() {
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
