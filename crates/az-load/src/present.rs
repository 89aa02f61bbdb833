//! Checks that the engine has the images, and prints the report.

use loader_archive::Image;
use loader_engine::{Absence, Engine, Found};
use loader_stage::{ErrorCode, Failure, OrFail, OrFailAs, Output};
use serde::Serialize;

/// The output of az-load.
#[derive(Serialize)]
struct Report<'a> {
    images: &'a [Found],
}

/// Checks each of `images`. The inner error describes the first absent image. If images for
/// several platforms have the same id, it is reported once.
///
/// # Errors
/// Errors of the engine.
pub(crate) fn check_all(engine: &Engine, images: &[Image]) -> Result<Result<Vec<Found>, Absence>, Failure> {
    let listing = engine.list().or_fail()?;
    let mut all: Vec<Found> = Vec::with_capacity(images.len());
    for image in images {
        match engine.check(image, &listing).or_fail()? {
            Ok(found) => match all.iter_mut().find(|other| other.id == found.id) {
                Some(other) => {
                    let new: Vec<String> = found.tags.into_iter().filter(|tag| !other.tags.contains(tag)).collect();
                    other.tags.extend(new);
                }
                None => all.push(found),
            },
            Err(absence) => return Ok(Err(absence)),
        }
    }
    Ok(Ok(all))
}

/// Writes one line of JSON.
///
/// # Errors
/// `io`, `reader_gone`.
pub(crate) fn print(images: &[Found], mut output: Output) -> Result<(), Failure> {
    let line = loader_model::json_line(&Report { images }).or_fail_as(ErrorCode::Bug, "the report")?;
    output.put(&line)?;
    output.commit()
}
