//! Opening a sealed patch.

use loader_model::Description;
use loader_patch::{Error, Patch};
use loader_release::{Accepted, OpenError, Policy};
use loader_seal::{Header, Key, Metadata, Unlocked};
use loader_stage::{Coded, ErrorCode, Failure, Input, OrFail};
use std::io::Read;

/// Reads the header of a patch.
///
/// # Errors
/// `no_input`, `patch_invalid` if it is another sealed file, and those of a sealed file.
pub(crate) fn unlock(input: &mut Input, keys: &[Key]) -> Result<Unlocked, Failure> {
    let place = input.name().to_owned();
    let header = match Header::read(input) {
        Err(error) if error.is_empty_input() && !input.is_seekable() => return Err(Failure::no_input("patch", &place)),
        header => header.or_fail_at(&place)?,
    };
    let unlocked = header.unlock(keys).or_fail_at(&place)?;
    if unlocked.metadata().encoding.as_deref() != Some(loader_patch::ENCODING) {
        let failure = Failure::new(ErrorCode::PatchInvalid, format_args!("{place}: a sealed file, but not a patch"));
        return Err(failure.hint("make a patch with az-diff".to_owned()));
    }
    Ok(unlocked)
}

/// Checks whether `policy` accepts the release that `patch` makes, and that the header of the patch
/// names this release.
///
/// # Errors
/// Those of [`Policy::check_statement`]; `statement_mismatch`.
pub(crate) fn check(
    patch: &Patch<impl Read>,
    header: &Metadata,
    policy: &Policy,
    place: &str,
) -> Result<Accepted, Failure> {
    let failure = |error: OpenError| error.into_failure(place, place, None);
    let stated = patch.statement().description();
    let Description { name, release, .. } = &header.description;
    for (what, differs) in [("name", *name != stated.name), ("release", *release != stated.release)] {
        if differs {
            return Err(failure(OpenError::Description(what)));
        }
    }
    // The header of the new file will be made from the statement.
    let metadata = Metadata { description: stated.clone(), ..Metadata::default() };
    policy.check_statement(patch.statement(), &metadata).map_err(failure)
}

/// Returns the failure of reading the head of a patch.
pub(crate) fn head_failure(error: Error, place: &str) -> Failure {
    match error {
        Error::Read(error) => OpenError::Sealed(loader_seal::Error::from_io(error)).into_failure(place, place, None),
        error @ Error::Mismatch { .. } => Failure::new(error.code(), format_args!("{place}: {error}"))
            .hint("get the patch for this release, or the whole new release".to_owned()),
        other => Failure::at(place, &other),
    }
}
