//! Opening a sealed file: its plaintext is the content, or packed content.

use crate::{Accepted, Policy, Refusal};
use loader_pack::{PackedFile, Verify, unpack};
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Error, Header, Key, Sink, Unlocked};
use loader_stage::{Coded, ErrorCode, Failure, Input, OrFail};
use std::io::{Read, Seek};

/// A sealed file whose header was verified.
pub struct ReleaseFile<'a> {
    input: &'a mut Input,
    unlocked: Unlocked,
    is_packed: bool,
    threads: usize,
}

impl<'a> ReleaseFile<'a> {
    /// Reads the header of `input` and verifies it with `keys`. `threads` is the number of
    /// threads that open the content; by default that of the cores, within limits.
    ///
    /// # Errors
    /// `no_input`, `not_sealed`, `unsupported`, `wrong_key`, `header_tampered`, `truncated`,
    /// `io`.
    pub fn unlock(input: &'a mut Input, keys: &[Key], threads: Option<u16>) -> Result<Self, Failure> {
        let place = input.name().to_owned();
        let unlocked = match Header::read(input) {
            Err(error) if error.is_empty_input() && !input.is_seekable() => {
                return Err(Failure::no_input("sealed stream", &place));
            }
            header => header
                .and_then(|header| header.unlock(keys))
                .or_fail_at(&place)
                .map_err(|failure| failure.hint(HeaderJournal::recovery_hint(input.path())))?,
        };
        let is_packed = match unlocked.metadata().encoding.as_deref() {
            None => false,
            Some(loader_pack::ENCODING) => true,
            Some(other) => {
                let what = format!("content encoding {}", loader_model::printable(other));
                return Err(Error::Unsupported(what)).or_fail_at(&place);
            }
        };
        // Two threads unpack faster than engines read, and more would need more memory.
        let limit = if is_packed && threads.is_none() { 2 } else { usize::MAX };
        let threads = loader_stage::thread_count(threads).min(limit);
        Ok(Self { input, unlocked, is_packed, threads })
    }

    /// Returns true if the file can be read at any position.
    pub fn is_from_start(&self) -> bool {
        self.input.is_from_start()
    }

    /// Returns true if the file can be read again.
    pub fn is_seekable(&self) -> bool {
        self.input.is_seekable()
    }

    /// Checks whether `policy` accepts the content, without reading it. Packed content must be a
    /// regular file that is read from its start.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn check(&self, policy: &Policy) -> Result<Accepted, OpenError> {
        match self.is_packed {
            true => self.packed_file(policy).map(|(_, accepted)| accepted),
            false => Ok(policy.check_without_statement(&self.unlocked.metadata().description)?),
        }
    }

    /// Writes the content to `output`, if `policy` accepts it. Packed content in a regular
    /// file is checked before the first byte is written. In a pipe, its statement comes after
    /// the content, so that the content is written before the policy can refuse it for its
    /// signatures; its name and number are checked before, in the header.
    /// `report_len` receives the length of the content, if it is known before.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &mut self,
        output: &mut (impl Sink + Send),
        verify: Verify,
        policy: &Policy,
        report_len: impl Fn(u64),
    ) -> Result<Accepted, OpenError> {
        let metadata = self.unlocked.metadata();
        if !self.is_packed {
            let accepted = policy.check_without_statement(&metadata.description)?;
            self.unlocked.header().plaintext_len().iter().for_each(|len| report_len(*len));
            self.unlocked.open(&mut self.input.polled(), output, self.threads)?;
            return Ok(accepted);
        }
        if self.input.is_from_start() {
            let (mut packed, accepted) = self.packed_file(policy)?;
            report_len(packed.statement().content_len());
            packed.unpack(output, verify, self.threads)?;
            return Ok(accepted);
        }
        policy.check_header(&metadata.description)?;
        metadata.content_len.iter().for_each(|len| report_len(*len));
        let mut stream = self.unlocked.opened_stream(self.input.polled())?;
        let statement = unpack(&mut stream, output, verify, self.threads)?;
        policy.check_statement(&statement, metadata)
    }

    /// Writes `len` bytes of the content from `offset`, or all bytes up to the end if `len` is
    /// `None`, to `output`, if `policy` accepts the content. The file must be a regular file
    /// that is read from its start.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_range(
        &mut self,
        output: &mut (impl Sink + Send),
        policy: &Policy,
        offset: u64,
        len: Option<u64>,
    ) -> Result<Accepted, OpenError> {
        if !self.is_packed {
            let accepted = policy.check_without_statement(&self.unlocked.metadata().description)?;
            self.unlocked.open_range(&mut self.input.file(), output, offset, len, self.threads)?;
            return Ok(accepted);
        }
        let threads = self.threads;
        let (mut packed, accepted) = self.packed_file(policy)?;
        packed.unpack_range(output, offset, len, threads)?;
        Ok(accepted)
    }

    /// Returns the verified header.
    pub fn header(&self) -> &Header {
        self.unlocked.header()
    }

    /// Returns the name of the file for messages.
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// Returns the packed content at any position. The file must be a regular file that is read
    /// from its start.
    ///
    /// # Errors
    /// [`OpenError`]; `unsupported` if the content is not packed; `usage` for a pipe.
    pub fn packed(&self) -> Result<PackedFile<impl Read + Seek + Send>, OpenError> {
        if !self.is_packed {
            let what = format_args!("{}: it was sealed with --raw and has no statement", self.name());
            let failure = Failure::new(ErrorCode::Unsupported, what);
            return Err(OpenError::Failed(failure.hint("seal it again without --raw".to_owned())));
        }
        if !self.is_from_start() {
            let what = format_args!("{}: not a regular file", self.name());
            return Err(OpenError::Failed(Failure::new(ErrorCode::Usage, what)));
        }
        Ok(PackedFile::open(self.unlocked.opened_file(self.input.file())?)?)
    }

    fn packed_file(&self, policy: &Policy) -> Result<(PackedFile<impl Read + Seek + Send>, Accepted), OpenError> {
        let packed = PackedFile::open(self.unlocked.opened_file(self.input.file())?)?;
        let accepted = policy.check_statement(packed.statement(), self.unlocked.metadata())?;
        Ok((packed, accepted))
    }
}

/// Reason why a file cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The sealed stream.
    Sealed(Error),
    /// The packed content.
    Packed(loader_pack::Error),
    /// The header and the statement differ in this.
    Description(&'static str),
    /// The policy does not accept the content.
    Refused(Refusal),
    /// A file of the policy cannot be used.
    Failed(Failure),
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Sealed(error)
    }
}

impl From<loader_pack::Error> for OpenError {
    fn from(error: loader_pack::Error) -> Self {
        match error {
            loader_pack::Error::Read(error) => Self::Sealed(Error::from_io(error)),
            loader_pack::Error::Write(error) => Self::Sealed(Error::Write(error)),
            other => Self::Packed(other),
        }
    }
}

impl OpenError {
    /// Returns the failure of opening `place` and writing to `target`. `released` is the number
    /// of bytes that were released before; `None` if nothing was to be released.
    pub fn into_failure(self, place: &str, target: &str, released: Option<u64>) -> Failure {
        let (code, what, hint) = match self {
            Self::Failed(failure) => return failure,
            Self::Refused(refusal) => (refusal.code(), refusal.to_string(), refusal.hint),
            Self::Sealed(Error::Write(cause)) => return Failure::io(target, &cause),
            Self::Sealed(Error::Read(cause)) => return Failure::io(place, &cause),
            // A cut inside a segment is detected as such only if the header declares the length.
            Self::Sealed(error @ Error::Corrupt { .. }) => (error.code(), error.to_string(), MAYBE_CUT),
            Self::Sealed(error @ (Error::Truncated { .. } | Error::Trailing { .. } | Error::LengthMismatch { .. })) => {
                (error.code(), error.to_string(), COPY_AGAIN)
            }
            Self::Sealed(error) => return Failure::at(place, &error),
            Self::Packed(error) if error.code() == ErrorCode::OutOfRange => return Failure::at(place, &error),
            Self::Packed(error) if error.code() == ErrorCode::Unsupported => {
                (error.code(), error.to_string(), "a newer version sealed it: update this program")
            }
            Self::Packed(error) => (error.code(), error.to_string(), SEALED_SO),
            Self::Description(what) => {
                let what = format!("the {what} in the header is not the one in the statement");
                (ErrorCode::StatementMismatch, what, SEALED_SO)
            }
        };
        let released =
            released.map_or_else(String::new, |released| format!("; nothing{} was released", after_byte(released)));
        Failure::new(code, format_args!("{place}: {what}{released}")).hint(hint.to_owned())
    }
}

const COPY_AGAIN: &str = "copy the file again, or compare it with the publisher's digest";
const MAYBE_CUT: &str = "the file is damaged or cut off: copy it again, or compare it with the publisher's digest";
/// Its tags are right, so another copy would be the same.
const SEALED_SO: &str = "the file was sealed like this: get another from its publisher";

/// Returns ` after byte N`, or nothing if no byte was released.
pub fn after_byte(released: u64) -> String {
    if released == 0 { String::new() } else { format!(" after byte {released}") }
}
