//! Standard error.

use std::io::Write;

/// Writes to standard error, and ignores failures: a reader that has exited or a full disk must not
/// stop the pipeline.
pub(crate) fn write(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}
