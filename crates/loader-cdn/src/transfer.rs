//! From a source to a sink, checked on the way and kept in the cache.

use crate::expected::Tally;
use crate::{CacheError, Error, Expected};
use std::io::Write;

/// What bytes are read from.
pub trait Source {
    /// The next bytes, some hundred KiB at most; none at the end.
    ///
    /// # Errors
    /// Those of the source.
    fn next_bytes(&mut self) -> Result<&[u8], Error>;
}

/// Moves everything from `sources`, one after the other, to `keep`, which may have
/// a place in the cache for it, and to `sink`. `what` names the bytes in messages.
/// Size and digest are checked at the end: the bytes are good only after `Ok`,
/// which counts them.
///
/// # Errors
/// [`Error::Mismatch`] where the bytes are not the expected ones, as soon as
/// that is known; [`Error::Sink`]; [`Error::Cache`]; those of the source.
pub fn transfer(
    what: &str,
    sources: &mut [&mut dyn Source],
    expected: &Expected,
    keep: &mut dyn FnMut(&[u8]) -> Result<(), CacheError>,
    sink: &mut dyn Write,
) -> Result<u64, Error> {
    let mismatch = |cause| Error::Mismatch { what: what.to_owned(), cause };
    let mut tally = Tally::new();
    let mut sources = sources.iter_mut();
    let mut current = sources.next();
    while let Some(source) = &mut current {
        let bytes = source.next_bytes()?;
        if bytes.is_empty() {
            current = sources.next();
            continue;
        }
        tally.update(bytes);
        if let Some(size) = expected.size
            && tally.size() > size
        {
            return Err(mismatch(format!("more than the {size} bytes of the receipt")));
        }
        keep(bytes)?;
        sink.write_all(bytes).map_err(Error::Sink)?;
    }
    let size = tally.size();
    tally.check(expected).map_err(mismatch)?;
    Ok(size)
}
