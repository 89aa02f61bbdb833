//! Opening a sealed file.

use crate::cli::Cli;
use loader_pack::Verify;
use loader_release::{Accepted, Policy, ReleaseFile};
use loader_seal::Key;
use loader_stage::{ErrorCode, Failure, Input, Output, Stage};
use std::io::{self, Seek, SeekFrom};

/// Opens the whole file and writes nothing.
///
/// # Errors
/// The first failure in the order of the file.
pub(crate) fn verify(
    cli: &Cli,
    stage: &Stage,
    keys: &[Key],
    policy: &Policy,
    input: &mut Input,
) -> Result<Accepted, Failure> {
    let place = input.name().to_owned();
    let mut file = ReleaseFile::unlock(input, keys, cli.threads)?;
    let progress = stage.progress();
    let mut nowhere = progress.count(io::sink());
    let opened = file.open(&mut nowhere, Verify::PiecesAndContent, policy, |len| progress.set_total(len));
    opened.map_err(|error| error.into_failure(&place, &place, Some(0)))
}

/// Verifies the whole file, then returns to its start.
///
/// # Errors
/// `usage` if the file can be read only once; the failures of [`verify`].
pub(crate) fn verify_and_rewind(cli: &Cli, keys: &[Key], policy: &Policy, input: &mut Input) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --verify-first needs a regular file"))
            .hint("the file is read twice, to verify all of it before anything is written".to_owned()));
    }
    let start = input.file().stream_position().map_err(io)?;
    let mut file = ReleaseFile::unlock(input, keys, cli.threads)?;
    let opened = file.open(&mut io::sink(), Verify::PiecesAndContent, policy, |_| {});
    opened.map_err(|error| error.into_failure(&place, &place, Some(0)))?;
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
    policy: &Policy,
    input: &mut Input,
    output: &mut Output,
) -> Result<Accepted, Failure> {
    let place = input.name().to_owned();
    let mut file = ReleaseFile::unlock(input, keys, cli.threads)?;
    let progress = stage.progress();
    let (target, is_file) = (output.name().to_owned(), output.is_file());
    let mut output = progress.count(output);
    let opened = match cli.range {
        None => file.open(&mut output, Verify::Pieces, policy, |total| progress.set_total(total)),
        Some(_) if !file.is_from_start() => {
            let what = if file.is_seekable() { "a file that is read from its start" } else { "a regular file" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --range needs {what}")));
        }
        Some(range) => {
            if let Some(len) = range.len {
                progress.set_total(len);
            }
            file.open_range(&mut output, policy, range.offset, range.len)
        }
    };
    opened.map_err(|error| error.into_failure(&place, &target, Some(released(stage, is_file))))
}

/// Returns the number of released bytes. It is 0 for an output file, which is not created
/// on failure.
pub(crate) fn released(stage: &Stage, is_file: bool) -> u64 {
    if is_file { 0 } else { stage.progress().done().unwrap_or(0) }
}
