//! Opening a sealed file: its plaintext is the content, or packed content.

use crate::cli::{ByteRange, Cli};
use loader_pack::{PackedFile, Statement, Verify, unpack};
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Error, Header, Key, Metadata, Sink, Unlocked};
use loader_stage::{Coded, ErrorCode, Failure, Input, OrFail, Output, Stage};
use std::io::{self, Seek, SeekFrom};

/// A file whose header was verified.
struct SealedFile<'a> {
    input: &'a mut Input,
    unlocked: Unlocked,
    is_packed: bool,
    threads: usize,
}

/// Opens the whole file and writes nothing.
///
/// # Errors
/// The first failure in the order of the file.
pub(crate) fn verify(cli: &Cli, stage: &Stage, keys: &[Key], input: &mut Input) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let mut file = SealedFile::unlock(cli, input, keys)?;
    let opened = file
        .open(&mut stage.progress().count(io::sink()), Verify::PiecesAndContent, |len| stage.progress().set_total(len));
    opened.map_err(|error| error.into_failure(&place, &place, 0))
}

/// Verifies the whole file, then returns to its start.
///
/// # Errors
/// `usage` if the file can be read only once; the failures of [`verify`].
pub(crate) fn verify_and_rewind(cli: &Cli, keys: &[Key], input: &mut Input) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --verify-first needs a regular file"))
            .hint("the file is read twice, to verify all of it before anything is written".to_owned()));
    }
    let start = input.file().stream_position().map_err(io)?;
    let mut file = SealedFile::unlock(cli, input, keys)?;
    let opened = file.open(&mut io::sink(), Verify::PiecesAndContent, |_| {});
    opened.map_err(|error| error.into_failure(&place, &place, 0))?;
    input.file().seek(SeekFrom::Start(start)).map(drop).map_err(io)
}

/// Opens the file, or the range of `--range`, and writes the content to `output`.
///
/// # Errors
/// `usage` if a range of a pipe is requested; the first failure in the order of the file.
pub(crate) fn open(
    cli: &Cli,
    stage: &Stage,
    keys: &[Key],
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let mut file = SealedFile::unlock(cli, input, keys)?;
    let progress = stage.progress();
    let (target, is_file) = (output.name().to_owned(), output.is_file());
    let mut output = progress.count(output);
    let opened = match cli.range {
        None => file.open(&mut output, Verify::Pieces, |total| progress.set_total(total)),
        Some(_) if !file.input.is_from_start() => {
            let what = if file.input.is_seekable() { "a file that is read from its start" } else { "a regular file" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --range needs {what}")));
        }
        Some(range) => {
            if let Some(len) = range.len {
                progress.set_total(len);
            }
            file.open_range(&mut output, range)
        }
    };
    opened.map_err(|error| error.into_failure(&place, &target, released(stage, is_file)))
}

impl<'a> SealedFile<'a> {
    fn unlock(cli: &Cli, input: &'a mut Input, keys: &[Key]) -> Result<Self, Failure> {
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
        let limit = if is_packed && cli.threads.is_none() { 2 } else { usize::MAX };
        Ok(Self { input, unlocked, is_packed, threads: loader_stage::thread_count(cli.threads).min(limit) })
    }

    /// Writes the content to `output`. `report_len` receives its length, if it is known
    /// before.
    fn open(
        &mut self,
        output: &mut (impl Sink + Send),
        verify: Verify,
        report_len: impl Fn(u64),
    ) -> Result<(), OpenError> {
        let metadata = self.unlocked.metadata();
        if !self.is_packed {
            self.unlocked.header().plaintext_len().iter().for_each(|len| report_len(*len));
            return Ok(self.unlocked.open(&mut self.input.polled(), output, self.threads).map(drop)?);
        }
        if self.input.is_from_start() {
            let mut packed = PackedFile::open(self.unlocked.opened_file(self.input.file())?)?;
            check_description(packed.statement(), metadata)?;
            report_len(packed.statement().content_len());
            return Ok(packed.unpack(output, verify, self.threads)?);
        }
        metadata.content_len.iter().for_each(|len| report_len(*len));
        let mut stream = self.unlocked.opened_stream(self.input.polled())?;
        let statement = unpack(&mut stream, output, verify, self.threads)?;
        check_description(&statement, metadata)
    }

    fn open_range(&mut self, output: &mut (impl Sink + Send), range: ByteRange) -> Result<(), OpenError> {
        let file = &mut self.input.file();
        let ByteRange { offset, len } = range;
        if !self.is_packed {
            return Ok(self.unlocked.open_range(file, output, offset, len, self.threads).map(drop)?);
        }
        let mut packed = PackedFile::open(self.unlocked.opened_file(file)?)?;
        check_description(packed.statement(), self.unlocked.metadata())?;
        Ok(packed.unpack_range(output, offset, len, self.threads).map(drop)?)
    }
}

/// Checks that the header describes the content as the statement does.
fn check_description(statement: &Statement, header: &Metadata) -> Result<(), OpenError> {
    match statement.difference(&header.description, header.content_len) {
        Some(what) => Err(OpenError::Description(what)),
        None => Ok(()),
    }
}

/// Reason why a file cannot be opened.
enum OpenError {
    Sealed(Error),
    Packed(loader_pack::Error),
    /// The header and the statement differ in this.
    Description(&'static str),
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
    /// Returns the failure, with the number of bytes that were released before.
    fn into_failure(self, place: &str, target: &str, released: u64) -> Failure {
        let (code, what, hint) = match self {
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
        Failure::new(code, format_args!("{place}: {what}; nothing{} was released", after_byte(released)))
            .hint(hint.to_owned())
    }
}

const COPY_AGAIN: &str = "copy the file again, or compare it with the publisher's digest";
const MAYBE_CUT: &str = "the file is damaged or cut off: copy it again, or compare it with the publisher's digest";
/// Its tags are right, so another copy would be the same.
const SEALED_SO: &str = "the file was sealed like this: get another from its publisher";

/// Returns the number of released bytes. It is 0 for an output file, which is not created
/// on failure.
pub(crate) fn released(stage: &Stage, is_file: bool) -> u64 {
    if is_file { 0 } else { stage.progress().done().unwrap_or(0) }
}

/// Returns ` after byte N`, or nothing if no byte was released.
pub(crate) fn after_byte(released: u64) -> String {
    if released == 0 { String::new() } else { format!(" after byte {released}") }
}
