//! Which images the plaintext holds: known before the first byte is sealed, so
//! that they stand in the header.

use crate::cli::Cli;
use loader_archive::{Error, Expected, Image, Passed, Scanner, Unpacked, may_hold_images};
use loader_stage::{ErrorCode, Failure, Input, OrFail, Stage};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Media type of an archive of images.
pub(crate) const DOCKER_ARCHIVE: &str = "application/x-docker-archive";

/// Most bytes of the list in a header, which holds slots and names too.
const LIST_MAX: usize = 48 * 1024;

/// Bytes that are read at once.
const BUFFER_LEN: usize = 256 * 1024;

/// The list for the header as JSON: from `--images-file`, or from the input where
/// that is a regular file with an archive of images; it is read once for that.
///
/// # Errors
/// That the file is no such list; that the input is damaged where
/// `--content-type` says that it is an archive of images; `io`.
pub(crate) fn list(cli: &Cli, stage: &Stage, input: &Input) -> Result<Option<String>, Failure> {
    if let Some(path) = &cli.images_file {
        let images = from_file(stage, path)?;
        let too_long = || Failure::new(ErrorCode::Malformed, format_args!("{}: too many images", path.display()));
        return to_json(images).ok_or_else(too_long).map(Some);
    }
    let certain = cli.content_type.as_deref() == Some(DOCKER_ARCHIVE);
    if input.known_len().is_none() || cli.content_type.is_some() && !certain {
        return Ok(None);
    }
    let io = |error: std::io::Error| Failure::io(input.name(), &error);
    let scanned = scan(input, certain);
    input.file().seek(SeekFrom::Start(0)).map_err(io)?;
    match scanned {
        Ok(images) => {
            let list = images.and_then(to_json);
            if list.is_some() {
                stage.step("images-recorded", &[]);
            }
            Ok(list)
        }
        Err(Error::Read(error)) => Err(io(error)),
        Err(error) if certain => Err(error).or_fail(input.name(), |error| ErrorCode::from_name(error.code())),
        Err(Error::NotArchive { .. } | Error::Packed { .. } | Error::Empty) => Ok(None),
        Err(error) => {
            stage.step("images-not-recorded", &[("why", loader_model::printable(&error.to_string()).into())]);
            Ok(None)
        }
    }
}

fn from_file(stage: &Stage, path: &Path) -> Result<Vec<Image>, Failure> {
    let mut file = stage.input(path)?;
    let text = file.read_all(LIST_MAX)?;
    let expected = Expected::from_json(&text).or_fail(file.name(), |error| ErrorCode::from_name(error.code()))?;
    Ok(expected.images)
}

/// The images in the file; `None` where its first member is nothing that such an
/// archive begins with, so that other tars are not read twice.
fn scan(input: &Input, certain: bool) -> Result<Option<Vec<Image>>, Error> {
    let mut input = Unpacked::new(input.file().take(u64::MAX))?;
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut first = !certain;
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return scanner.finish().map(|archive| Some(archive.images));
        }
        scanner.push::<Error>(&buffer[..read], &mut |_: Passed<'_>| Ok(()))?;
        if std::mem::take(&mut first) && !may_hold_images(&buffer[..read]) {
            return Ok(None);
        }
    }
}

/// `None` where it does not fit: without the layers first, since tags and ids
/// matter more.
fn to_json(mut images: Vec<Image>) -> Option<String> {
    let short = |images: &[Image]| serde_json::to_string(images).ok().filter(|list| list.len() <= LIST_MAX);
    if let Some(list) = short(&images) {
        return Some(list);
    }
    images.iter_mut().for_each(|image| image.layers.clear());
    short(&images)
}
