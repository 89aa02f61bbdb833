//! Patches: head, groups, operations, frames.

use loader_pack::{PackOptions, PackedFile, copy_stated, pack};
use loader_patch::{DiffOptions, Patch, diff};
use std::io::{Cursor, Read};
use std::sync::LazyLock;

/// Maximum number of bytes of new content that are read: copies can make any length.
const NEW_MAX: u64 = 4 << 20;

/// The old content: text, so that small changes are in frames and long ranges are copied.
static OLD: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..40_000).flat_map(|i: u32| format!("{i}\n").into_bytes()).collect());

/// Returns the patch from [`OLD`] to `new`.
#[allow(dead_code, reason = "the fuzz targets have their own seeds")]
pub(crate) fn patch_to(new: &[u8]) -> Vec<u8> {
    let open = |content: &[u8]| {
        let mut packed = Vec::new();
        pack(&mut &*content, &mut packed, &PackOptions::default()).unwrap();
        PackedFile::open(Cursor::new(packed)).unwrap()
    };
    let (old, new_file) = (open(&OLD), open(new));
    let (id, statement) = (old.statement().release_id(), new_file.statement_bytes().to_vec());
    let options = DiffOptions { level: 3, threads: 1 };
    let (mut old, mut new, mut patch) = (&OLD[..], new, Vec::new());
    diff(&mut old, &id, &mut new, &statement, &mut patch, &options, |_| {}).unwrap();
    patch
}

/// Returns the old content.
#[allow(dead_code, reason = "the fuzz targets have their own seeds")]
pub(crate) fn old() -> &'static [u8] {
    &OLD
}

/// A patch makes at most the content that its statement declares, and what is released has the
/// digests in the statement.
pub(super) fn patch(input: &[u8]) {
    let Ok(mut patch) = Patch::read(input) else { return };
    let statement = patch.statement().clone();
    let mut old = &OLD[..];
    let mut made = Vec::new();
    let outcome = patch.apply(&mut old).take(NEW_MAX).read_to_end(&mut made);
    assert!(made.len() as u64 <= statement.content_len());
    if outcome.is_err() || made.len() as u64 == NEW_MAX {
        return;
    }
    // All of it was made, but it may be another content.
    assert_eq!(made.len() as u64, statement.content_len());
    let mut released = Vec::new();
    if copy_stated(&mut &made[..], &mut released, &statement, 1).is_ok() {
        assert!(released == made);
    }
}
