//! Sealing the plaintext: packed, or as it is.

use crate::changes::{ChangeDetectingReader, Checksum};
use crate::cli::Cli;
use crate::signers::Signers;
use loader_archive::Compression;
use loader_pack::{PackOptions, pack_pieces};
use loader_pipe::read_full;
use loader_seal::{Error, Key, Metadata, SealOptions, SealedWriter, seal};
use loader_stage::{Failure, Output, Stage, Step};
use std::io::{Cursor, Read};

/// Number of bytes that show whether the plaintext is compressed.
const DETECTION_LEN: usize = 8;

/// What is sealed, and for whom.
pub(crate) struct Content<'a> {
    pub(crate) keys: &'a [Key],
    pub(crate) signers: &'a Signers,
    pub(crate) metadata: Metadata,
    /// Length of the plaintext in bytes, if it is known.
    pub(crate) len: Option<u64>,
    /// Checksum of the plaintext, if it was read before.
    pub(crate) checksum: Option<Checksum>,
}

/// Reason why the content cannot be sealed.
pub(crate) enum SealError {
    /// The plaintext is not the one that was read before.
    Changed,
    Seal(Error),
    /// It could not be signed.
    Sign(Failure),
}

impl From<Error> for SealError {
    fn from(error: Error) -> Self {
        Self::Seal(error)
    }
}

impl Content<'_> {
    /// Reads `input` to its end and writes it, sealed, to `output`. If it has changed, the
    /// output is incomplete.
    ///
    /// # Errors
    /// [`SealError::Changed`], [`SealError::Sign`], and those of [`seal`] and [`pack_pieces`].
    pub(crate) fn seal(
        self,
        cli: &Cli,
        stage: &Stage,
        input: &mut (impl Read + Send),
        output: &mut Output,
    ) -> Result<(), SealError> {
        let mut input = ChangeDetectingReader::new(input, self.checksum);
        let sealed = if cli.raw {
            seal(&mut input, output, self.keys, &self.options(cli, self.metadata.clone()))
                .map(drop)
                .map_err(SealError::from)
        } else {
            self.seal_packed(cli, stage, &mut input, output)
        };
        if input.is_changed() { Err(SealError::Changed) } else { sealed }
    }

    fn options(&self, cli: &Cli, metadata: Metadata) -> SealOptions {
        SealOptions {
            suite: cli.suite,
            segment_log2: cli.segment,
            plaintext_len: self.len,
            metadata,
            threads: loader_stage::thread_count(cli.threads),
            ..SealOptions::default()
        }
    }

    fn seal_packed(
        &self,
        cli: &Cli,
        stage: &Stage,
        input: &mut (impl Read + Send),
        output: &mut Output,
    ) -> Result<(), SealError> {
        if self.len.is_some_and(|len| len > CONTENT_MAX) {
            return Err(too_long().into());
        }
        let start = read_start(input)?;
        if let Some(compression) = Compression::detect(&start) {
            stage.step(Step::AlreadyCompressed, &[("format", compression.as_str().into())]);
        }
        let options = self.options(
            cli,
            Metadata {
                encoding: Some(loader_pack::ENCODING.to_owned()),
                content_len: self.len,
                // Known only at the end, and then written over this one in a file.
                stream_len: output.is_file().then_some(0),
                ..self.metadata.clone()
            },
        );
        let pack_options =
            PackOptions { level: cli.level, description: self.metadata.description.clone(), threads: options.threads };
        let mut writer = SealedWriter::new(&mut *output, self.keys, &options)?;
        let pieces =
            pack_pieces(&mut Cursor::new(start).chain(input), &mut writer, &pack_options).map_err(seal_error)?;
        let actual = pieces.statement().content_len();
        if let Some(declared) = self.len.filter(|declared| *declared != actual) {
            return Err(Error::LengthMismatch { declared, actual }.into());
        }
        let signatures = self.signers.sign(stage, &pieces.statement().release_id()).map_err(SealError::Sign)?;
        pieces.finish(&mut writer, &signatures).map_err(seal_error)?;
        let header = writer.finish()?;
        if output.is_file() {
            output.overwrite_start(header.as_bytes()).map_err(Error::Write)?;
        }
        Ok(())
    }
}

/// Maximum length of packed content in bytes.
const CONTENT_MAX: u64 = (loader_pack::PIECES_MAX * loader_pack::PIECE_LEN) as u64;

fn too_long() -> Error {
    Error::Unsupported("content of more than 1 TiB; seal it with --raw".to_owned())
}

fn read_start(input: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut start = vec![0; DETECTION_LEN];
    let len = read_full(input, &mut start).map_err(Error::Read)?;
    start.truncate(len);
    Ok(start)
}

fn seal_error(error: loader_pack::Error) -> Error {
    match error {
        loader_pack::Error::Read(error) => Error::Read(error),
        loader_pack::Error::Write(error) => match Error::from_io(error) {
            Error::Read(error) => Error::Write(error),
            sealing => sealing,
        },
        loader_pack::Error::TooLong => too_long(),
        loader_pack::Error::DescriptionTooLong => Error::Malformed { line: None, what: "the description is too long" },
        other => Error::Write(std::io::Error::other(other)),
    }
}
