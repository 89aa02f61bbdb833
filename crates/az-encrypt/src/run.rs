//! Implementation of az-encrypt.

use crate::cli::Cli;
use crate::content::{Content, SealError};
use crate::images::{self, ImageList};
use crate::signers::Signers;
use loader_model::Description;
use loader_seal::{Error, Key, Metadata, SealOptions, seal};
use loader_stage::{ErrorCode, Failure, OrFail, Stage};
use std::io;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    check_header_size(cli)?;
    let mut input = stage.input(&cli.input)?;
    let keys = cli.keys.read(stage)?;
    let signers = Signers::read(cli, stage)?;
    let mut output = stage.output(&cli.output, loader_stage::Content::Binary)?;
    let ImageList { json: images, checksum } = images::list_images(cli, stage, &input)?;
    let archive = images.as_ref().map(|_| images::DOCKER_ARCHIVE.to_owned());
    let mut metadata = metadata(cli);
    metadata.description.images = images;
    metadata.description.content_type = metadata.description.content_type.or(archive);
    let content = Content { keys: &keys, signers: &signers, metadata, len: input.known_len(), checksum };
    stage.begin();
    if let Some(len) = content.len {
        stage.progress().set_total(len);
    }
    let place = input.name().to_owned();
    let mut reader = stage.progress().count(input.polled());
    content.seal(cli, stage, &mut reader, &mut output).map_err(|error| match error {
        SealError::Changed => Failure::new(ErrorCode::Changed, format_args!("{place}: changed while it was sealed"))
            .hint("stop the process that writes to it, then try again".to_owned()),
        SealError::Sign(failure) => failure,
        SealError::Seal(Error::Write(cause)) => Failure::io(output.name(), &cause),
        SealError::Seal(Error::Read(cause)) => Failure::io(&place, &cause),
        SealError::Seal(other) => Failure::at(&place, &other),
    })?;
    output.commit()?;
    Ok(())
}

/// Returns the metadata that is given on the command line.
fn metadata(cli: &Cli) -> Metadata {
    let description = Description {
        content_type: cli.content_type.clone(),
        name: cli.name.as_ref().map(ToString::to_string),
        release: cli.release,
        images: None,
    };
    Metadata { description, comment: cli.comment.clone(), ..Metadata::default() }
}

/// Checks that the header is not too long, before keys and input are read, by sealing an
/// empty input with dummy keys.
///
/// # Errors
/// `usage`.
fn check_header_size(cli: &Cli) -> Result<(), Failure> {
    let keys: Vec<_> =
        (0..(cli.keys.key_file.len() + cli.keys.key_fd.len()).max(1)).map(|_| Key::from_bytes([0; 32])).collect();
    let encoded = Metadata {
        encoding: Some(loader_pack::ENCODING.to_owned()),
        content_len: Some(0),
        stream_len: Some(0),
        ..metadata(cli)
    };
    let metadata = if cli.raw { metadata(cli) } else { encoded };
    let options = SealOptions { metadata, ..SealOptions::default() };
    match seal(&mut io::empty(), &mut io::sink(), &keys, &options) {
        Err(error @ Error::Malformed { .. }) => Err(Failure::new(ErrorCode::Usage, error)
            .hint("--comment, --content-type, --name and the keys share the 65536 bytes of the header".to_owned())),
        outcome => outcome.map(drop).or_fail(),
    }
}
