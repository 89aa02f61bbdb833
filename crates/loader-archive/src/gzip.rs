//! An archive that is packed as a whole.

use crate::Error;
use crate::content::packing;
use crate::header::BLOCK_LEN;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Bytes of gzip that are read at once.
const PACKED_LEN: usize = 64 * 1024;

/// Reads an archive, unpacking gzip on the way: an engine would accept it packed,
/// but nobody could look into it before it is committed. Other packings are
/// refused for the same reason.
pub struct Unpacked<R: Read> {
    inner: Inner<R>,
    /// Unpacked bytes so far.
    given: u64,
}

/// The bytes that were looked at, then the rest.
type Whole<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

enum Inner<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first block of `input`.
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Empty`], [`Error::Read`].
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut start = Vec::with_capacity(BLOCK_LEN);
        (&mut input).take(BLOCK_LEN as u64).read_to_end(&mut start).map_err(Error::Read)?;
        if start.is_empty() {
            return Err(Error::Empty);
        }
        let packing = packing(&start);
        let input = io::Cursor::new(start).chain(input);
        match packing {
            None => Ok(Self { inner: Inner::Plain(input), given: 0 }),
            Some("gzip") => {
                let buffered = BufReader::with_capacity(PACKED_LEN, input);
                Ok(Self { inner: Inner::Gzip(Box::new(MultiGzDecoder::new(buffered))), given: 0 })
            }
            Some(coding) => Err(Error::Packed { coding }),
        }
    }

    /// True where the input is gzip.
    pub fn is_packed(&self) -> bool {
        matches!(self.inner, Inner::Gzip(_))
    }

    /// Reads unpacked bytes, at first a whole block where there is one; 0 at the end, which for gzip is reached only where
    /// its checksum fits and nothing follows.
    ///
    /// # Errors
    /// [`Error::Truncated`] and [`Error::Malformed`] for gzip, [`Error::Read`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let outcome = match &mut self.inner {
                Inner::Plain(input) => input.read(buffer),
                Inner::Gzip(input) => input.read(buffer),
            };
            return match outcome {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(self.explain(error)),
                Ok(0) => self.check_end().map(|()| 0),
                Ok(read) => {
                    self.given += read as u64;
                    Ok(read)
                }
            };
        }
    }

    fn explain(&self, error: io::Error) -> Error {
        match (&self.inner, error.kind()) {
            (Inner::Gzip(_), ErrorKind::UnexpectedEof) => {
                Error::Truncated { at: self.given, inside: "the gzip around it".to_owned() }
            }
            (Inner::Gzip(_), ErrorKind::InvalidData | ErrorKind::InvalidInput) => {
                Error::Malformed { member: "the gzip around the archive".into(), why: error.to_string() }
            }
            _ => Error::Read(error),
        }
    }

    fn check_end(&mut self) -> Result<(), Error> {
        let Inner::Gzip(input) = &mut self.inner else { return Ok(()) };
        match input.get_mut().fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(Error::Malformed {
                member: "the gzip around the archive".into(),
                why: "something follows it".into(),
            }),
            Err(error) => Err(Error::Read(error)),
        }
    }
}
