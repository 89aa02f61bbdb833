//! An archive that is compressed as a whole.

use crate::Error;
use crate::compression::{Compression, ZSTD_WINDOW_LOG_MAX};
use crate::tar::BLOCK_LEN;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use zstd::stream::read::Decoder as ZstdDecoder;

/// Number of compressed bytes that are read at once.
const BUFFER_LEN: usize = 64 * 1024;

/// Reads an archive and decompresses it if it is gzip or zstd. An engine would accept
/// other compressions too, but nobody could check the content before it is committed.
pub struct DecompressingReader<R: Read> {
    inner: Inner<R>,
    /// Number of decompressed bytes so far.
    read: u64,
}

/// The bytes that were inspected, then the rest.
type Whole<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

enum Inner<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
    Zstd(Box<ZstdDecoder<'static, BufReader<Whole<R>>>>),
}

impl<R: Read> DecompressingReader<R> {
    /// Inspects the first block of `input`.
    ///
    /// # Errors
    /// [`Error::Compressed`], [`Error::Empty`], [`Error::Read`].
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut start = Vec::with_capacity(BLOCK_LEN);
        (&mut input).take(BLOCK_LEN as u64).read_to_end(&mut start).map_err(Error::Read)?;
        if start.is_empty() {
            return Err(Error::Empty);
        }
        let compression = Compression::detect(&start);
        let input = io::Cursor::new(start).chain(input);
        let buffered = |input| BufReader::with_capacity(BUFFER_LEN, input);
        let inner = match compression {
            None => Inner::Plain(input),
            Some(Compression::Gzip) => Inner::Gzip(Box::new(MultiGzDecoder::new(buffered(input)))),
            Some(Compression::Zstd) => {
                let mut decoder = ZstdDecoder::with_buffer(buffered(input)).map_err(Error::Read)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(Error::Read)?;
                Inner::Zstd(Box::new(decoder))
            }
            Some(Compression::Other(program)) => return Err(Error::Compressed { program }),
        };
        Ok(Self { inner, read: 0 })
    }

    /// Returns the compression of the input; `None` if it is not compressed.
    pub fn compression(&self) -> Option<Compression> {
        match self.inner {
            Inner::Plain(_) => None,
            Inner::Gzip(_) => Some(Compression::Gzip),
            Inner::Zstd(_) => Some(Compression::Zstd),
        }
    }

    /// Reads decompressed bytes, at first a whole block if there is one; 0 at the end. The
    /// end of gzip is reached only if its checksum is right and nothing follows.
    ///
    /// # Errors
    /// [`Error::Truncated`] and [`Error::Malformed`] for compressed input, [`Error::Read`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let outcome = match &mut self.inner {
                Inner::Plain(input) => input.read(buffer),
                Inner::Gzip(input) => input.read(buffer),
                Inner::Zstd(input) => input.read(buffer),
            };
            return match outcome {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(self.explain(error)),
                Ok(0) => self.check_end().map(|()| 0),
                Ok(read) => {
                    self.read += read as u64;
                    Ok(read)
                }
            };
        }
    }

    fn explain(&self, error: io::Error) -> Error {
        let Some(program) = self.compression() else { return Error::Read(error) };
        match error.kind() {
            ErrorKind::UnexpectedEof => Error::Truncated { at: self.read, inside: format!("its {program} data") },
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                Error::malformed(&format!("the {program} data of the archive"), error)
            }
            // The zstd library reports damage without a kind of its own.
            ErrorKind::Other if program == Compression::Zstd => Error::malformed("the zstd data of the archive", error),
            _ => Error::Read(error),
        }
    }

    fn check_end(&mut self) -> Result<(), Error> {
        let Inner::Gzip(input) = &mut self.inner else { return Ok(()) };
        match input.get_mut().fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(Error::malformed("the gzip data of the archive", "it is followed by other bytes")),
            Err(error) => Err(Error::Read(error)),
        }
    }
}
