//! Implementation of az-diff.

use crate::cli::Cli;
use loader_model::Description;
use loader_pack::PieceReader;
use loader_patch::{DiffOptions, Error, diff};
use loader_release::{OpenError, ReleaseFile};
use loader_seal::{Metadata, SealOptions, SealedWriter};
use loader_stage::{Content, Failure, Input, Stage, Step, thread_count};
use std::io::{self, Read, Seek};
use std::path::Path;

/// Number of pieces of each content that are kept in memory.
const PIECES: usize = 4;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let (mut old, mut new) = (open(stage, &cli.old)?, open(stage, &cli.new)?);
    let keys = cli.keys.read(stage)?;
    let (old_place, new_place) = (old.name().to_owned(), new.name().to_owned());
    let mut output = stage.output(&cli.output, Content::Binary)?;
    stage.begin();
    let old = ReleaseFile::unlock(&mut old, &keys, cli.threads)?;
    let new = ReleaseFile::unlock(&mut new, &keys, cli.threads)?;
    let mut old = reader(&old)?;
    let new_file = new.packed().map_err(|error| read_failure(error, &new_place))?;
    let statement = new_file.statement_bytes().to_vec();
    let mut new = new_file.into_reader(PIECES).map_err(|error| read_failure(error.into(), &new_place))?;
    let old_id = old.statement().release_id();
    stage.progress().set_total(new.statement().content_len());

    let is_file = output.is_file();
    let options = seal_options(new.statement().description(), is_file);
    let target = output.name().to_owned();
    let failure = |error: Error| match error {
        Error::Old(error) => source_failure(error, &old_place),
        Error::New(error) => source_failure(error, &new_place),
        Error::Write(error) => write_failure(error, &target),
        other => Failure::at(&target, &other),
    };
    let seal_failure = |error| write_failure(io::Error::from(error), &target);
    let mut sealed = SealedWriter::new(&mut output, &keys, &options).map_err(seal_failure)?;
    let diff_options = DiffOptions { level: cli.level, threads: thread_count(cli.threads) };
    let progress = stage.progress().clone();
    let report = |bytes| progress.add(bytes);
    let summary = diff(&mut old, &old_id, &mut new, &statement, &mut sealed, &diff_options, report).map_err(failure)?;
    let header = sealed.finish().map_err(seal_failure)?;
    if is_file {
        output.overwrite_start(header.as_bytes()).map_err(|error| Failure::io(&target, &error))?;
    }
    output.commit()?;
    let detail = [
        ("copied", summary.copied.into()),
        ("coded", summary.coded.into()),
        ("patch_size", summary.patch_len.into()),
        ("from", old_id.to_string().into()),
        ("to", new.statement().release_id().to_string().into()),
    ];
    stage.step(Step::Compared, &detail);
    Ok(())
}

fn open(stage: &Stage, path: &Path) -> Result<Input, Failure> {
    stage.input(path)
}

fn reader<'a>(file: &'a ReleaseFile<'_>) -> Result<PieceReader<impl Read + Seek + Send + 'a>, Failure> {
    let packed = file.packed().map_err(|error| read_failure(error, file.name()))?;
    packed.into_reader(PIECES).map_err(|error| read_failure(error.into(), file.name()))
}

/// Returns the options for sealing the patch. Its header has the name and the number of the new
/// release.
fn seal_options(new: &Description, is_file: bool) -> SealOptions {
    let description = Description {
        content_type: Some(loader_patch::CONTENT_TYPE.to_owned()),
        name: new.name.clone(),
        release: new.release,
        images: None,
    };
    let metadata = Metadata {
        description,
        encoding: Some(loader_patch::ENCODING.to_owned()),
        // Known only at the end, and then written over this one in a file.
        stream_len: is_file.then_some(0),
        ..Metadata::default()
    };
    SealOptions { metadata, ..SealOptions::default() }
}

fn read_failure(error: OpenError, place: &str) -> Failure {
    error.into_failure(place, place, None)
}

fn source_failure(error: io::Error, place: &str) -> Failure {
    match error.downcast::<loader_pack::Error>() {
        Ok(error) => read_failure(error.into(), place),
        Err(error) => read_failure(OpenError::Sealed(loader_seal::Error::from_io(error)), place),
    }
}

fn write_failure(error: io::Error, target: &str) -> Failure {
    match loader_seal::Error::from_io(error) {
        loader_seal::Error::Read(error) => Failure::io(target, &error),
        other => Failure::at(target, &other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_a_patch_says_what_it_is() {
        let new = Description { images: Some("[]".to_owned()), release: Some(4), ..Description::default() };
        let metadata = seal_options(&new, true).metadata;
        assert_eq!(metadata.encoding.as_deref(), Some("patch"));
        assert_eq!((metadata.description.release, metadata.description.images), (Some(4), None));
    }
}
