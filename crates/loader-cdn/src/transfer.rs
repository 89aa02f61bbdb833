//! Copies bytes from sources to an output, verified and cached on the way.

use crate::expected::Hasher;
use crate::{CacheError, Error, ExpectedPart};
use std::io::Write;

/// Source of bytes in pieces.
pub trait ByteSource {
    /// Returns the next piece, at most some hundred KiB; an empty slice at the end.
    ///
    /// # Errors
    /// Errors of the source.
    fn next_bytes(&mut self) -> Result<&[u8], Error>;
}

/// Copies all bytes of `sources`, in order, to `keep`, which may write them to the cache, and to
/// `output`. `what` names the bytes in messages. Returns the number of bytes.
///
/// Size and digest are checked at the end: do not use the bytes before this function returned
/// `Ok`.
///
/// # Errors
/// [`Error::Mismatch`] if size or digest differ from `expected`, as early as possible;
/// [`Error::Output`]; [`Error::Cache`]; errors of the sources.
pub fn transfer(
    what: &str,
    sources: &mut [&mut dyn ByteSource],
    expected: &ExpectedPart,
    keep: &mut dyn FnMut(&[u8]) -> Result<(), CacheError>,
    output: &mut dyn Write,
) -> Result<u64, Error> {
    let mismatch = |cause| Error::Mismatch { what: what.to_owned(), cause };
    let mut hasher = Hasher::new();
    let mut sources = sources.iter_mut();
    let mut current = sources.next();
    while let Some(source) = &mut current {
        let bytes = source.next_bytes()?;
        if bytes.is_empty() {
            current = sources.next();
            continue;
        }
        hasher.update(bytes);
        if let Some(size) = expected.size
            && hasher.size() > size
        {
            return Err(mismatch(format!("longer than the {size} bytes in the receipt")));
        }
        keep(bytes)?;
        output.write_all(bytes).map_err(Error::Output)?;
    }
    let size = hasher.size();
    hasher.check(expected).map_err(mismatch)?;
    Ok(size)
}
