//! List of the images in the plaintext. It is in the header, so it is created before the
//! first byte is sealed.

use crate::changes::{Checksum, ChecksumReader};
use crate::cli::Cli;
use loader_archive::{
    Archive, ArchiveReader, Compression, DecompressingReader, Error, Event, Expected, Image, may_contain_images,
};
use loader_stage::{Coded, ErrorCode, Failure, Input, OrFail, Stage, Step};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Media type of an archive of images.
pub(crate) const DOCKER_ARCHIVE: &str = "application/x-docker-archive";

/// Maximum number of bytes of the list in a header, which contains slots and names too.
const LIST_MAX: usize = 48 * 1024;

/// Number of bytes per read.
const BUFFER_LEN: usize = 256 * 1024;

/// Result of [`list_images`].
#[derive(Default)]
pub(crate) struct ImageList {
    /// The list for the header, as JSON.
    pub(crate) json: Option<String>,
    /// Checksum of the input, if it was read for the list.
    pub(crate) checksum: Option<Checksum>,
}

/// Returns the list of images for the header: from `--images-file`, or from the input if it
/// is a regular file with an archive of images. Such an input is read once for the list.
///
/// # Errors
/// The error of an archive that az-load would refuse, unless `--force` is given; `malformed`
/// if there is no list with `--require-images`, or if the list is invalid or too long; `io`.
pub(crate) fn list_images(cli: &Cli, stage: &Stage, input: &Input) -> Result<ImageList, Failure> {
    let list = match &cli.images_file {
        Some(path) => {
            let too_long = || Failure::new(ErrorCode::Malformed, format_args!("{}: too many images", path.display()));
            ImageList { json: Some(to_json(from_file(stage, path)?).ok_or_else(too_long)?), checksum: None }
        }
        None => from_input(cli, stage, input)?,
    };
    if cli.require_images && list.json.is_none() {
        let failure = Failure::new(ErrorCode::Malformed, format_args!("{}: no list of images", input.name()));
        return Err(failure.hint(match input.known_len() {
            Some(_) => "it is not an archive of images, as docker save writes it".to_owned(),
            None => "a pipe is read once: seal from a file, or use --images-file".to_owned(),
        }));
    }
    Ok(list)
}

fn from_input(cli: &Cli, stage: &Stage, input: &Input) -> Result<ImageList, Failure> {
    let is_declared = cli.content_type.as_deref() == Some(DOCKER_ARCHIVE);
    if input.known_len().is_none() || cli.content_type.is_some() && !is_declared {
        return Ok(ImageList::default());
    }
    let io = |error: io::Error| Failure::io(input.name(), &error);
    let mut reader = ChecksumReader::new(input.file());
    let outcome = read(&mut reader, is_declared);
    input.file().seek(SeekFrom::Start(0)).map_err(io)?;
    let error = match outcome {
        Ok(None) => return Ok(ImageList::default()),
        Ok(Some(archive)) => match archive.images() {
            Ok(images) => {
                if archive.compressions().any(|compression| compression == Compression::Zstd) {
                    stage.step(Step::EngineLimits, &[("why", "Docker before 23 cannot read zstd layers".into())]);
                }
                let json = to_json(images);
                stage.step(if json.is_some() { Step::ImagesRecorded } else { Step::ImagesNotRecorded }, &[]);
                return Ok(ImageList { json, checksum: Some(reader.checksum()) });
            }
            Err(error) => Refusal { error, is_image_archive: true },
        },
        Err(refusal) => refusal,
    };
    let why = loader_model::printable(&error.error.to_string());
    match error {
        Refusal { error: Error::Read(error), .. } => Err(io(error)),
        Refusal { is_image_archive, .. } if cli.output.force || !is_image_archive && !is_declared => {
            stage.step(Step::ImagesNotRecorded, &[("why", why.into())]);
            Ok(ImageList::default())
        }
        Refusal { error, .. } => {
            let hint = error.hint().map_or_else(|| INSIST.to_owned(), |hint| format!("{hint}; {INSIST}"));
            let failure = format_args!("{}: az-load would refuse it: {error}", input.name()).to_string();
            Err(Failure::new(error.code(), failure).hint(hint))
        }
    }
}

const INSIST: &str = "seal it all the same with --force";

/// Reason why there is no list.
struct Refusal {
    error: Error,
    /// True if members have names that only archives of images have.
    is_image_archive: bool,
}

/// Reads the whole input. Returns `None` after its first bytes if they cannot be the start
/// of an archive of images, so that other tar archives are not read twice.
fn read(input: &mut impl Read, is_declared: bool) -> Result<Option<Archive>, Refusal> {
    let mut reader = ArchiveReader::default();
    let outcome = read_into(&mut reader, input, is_declared);
    let is_image_archive = reader.has_image_members();
    let outcome = outcome.and_then(|is_guess_right| if is_guess_right { reader.finish().map(Some) } else { Ok(None) });
    outcome.map_err(|error| Refusal { error, is_image_archive })
}

fn read_into(reader: &mut ArchiveReader, input: &mut impl Read, is_declared: bool) -> Result<bool, Error> {
    let mut input = DecompressingReader::new(input)?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut is_first = !is_declared;
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(true);
        }
        if std::mem::take(&mut is_first) && !may_contain_images(&buffer[..read]) {
            return Ok(false);
        }
        reader.push::<Error>(&buffer[..read], &mut |_: Event<'_>| Ok(()))?;
    }
}

fn from_file(stage: &Stage, path: &Path) -> Result<Vec<Image>, Failure> {
    let mut file = stage.input(path)?;
    let text = file.read_all(LIST_MAX)?;
    Ok(Expected::from_json(&text).or_fail_at(file.name())?.images)
}

/// Encodes the list. If it is too long, layers are skipped; if it is still too long, returns
/// `None`.
fn to_json(mut images: Vec<Image>) -> Option<String> {
    let short = |images: &[Image]| serde_json::to_string(images).ok().filter(|list| list.len() <= LIST_MAX);
    if let Some(list) = short(&images) {
        return Some(list);
    }
    images.iter_mut().for_each(|image| image.layers.clear());
    short(&images)
}
