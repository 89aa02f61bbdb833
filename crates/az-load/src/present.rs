//! Which images are there, and how that is told.

use loader_archive::Image;
use loader_engine::{Absence, Engine, Error, Found};
use loader_stage::{ErrorCode, Failure, Output};
use serde::Serialize;

/// What az-load prints.
#[derive(Serialize)]
struct Report<'a> {
    images: &'a [Found],
}

/// Asks `engine` for each of `images`; the first that is not there is the inner
/// error.
///
/// # Errors
/// The engine's.
pub(crate) fn ask(engine: &Engine, images: &[Image]) -> Result<Result<Vec<Found>, Absence>, Failure> {
    let listing = engine.list().map_err(failure)?;
    let mut found = Vec::with_capacity(images.len());
    for image in images {
        match engine.check(image, &listing).map_err(failure)? {
            Ok(image) => found.push(image),
            Err(absence) => return Ok(Err(absence)),
        }
    }
    Ok(Ok(found))
}

/// One line of JSON.
///
/// # Errors
/// `io`, `reader_gone`.
pub(crate) fn print(images: &[Found], mut output: Output) -> Result<(), Failure> {
    let line = loader_model::json_line(&Report { images })
        .map_err(|error| Failure::new(ErrorCode::Bug, format_args!("the report: {error}")))?;
    output.put(&line)?;
    output.commit()
}

/// The failure of an engine, with its class and hint.
pub(crate) fn failure(error: Error) -> Failure {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(error.code(), format_args!("{error}{cause}")).hint(error.hint().map(str::to_owned))
}
