//! Properties that hold for every input: one function for each parser of untrusted data,
//! which panics if its property is violated. `properties.rs` runs them with
//! proptest, `tests/fuzz` with libFuzzer.

mod answers;
mod archive;
pub(crate) mod documents;
mod keys;
pub(crate) mod packed;
pub(crate) mod patch;
mod sealed;
mod state;

/// Name of a fuzz target and its property.
pub(crate) type Reader = (&'static str, fn(&[u8]));

/// All properties.
pub(crate) const READERS: [Reader; 15] = [
    ("header", sealed::header),
    ("tlvs", sealed::tlvs),
    ("stream", sealed::stream),
    ("packed", packed::packed),
    ("patch", patch::patch),
    ("key_line", keys::key_line),
    ("fragment_line", keys::fragment_line),
    ("card", keys::card),
    ("jwt", documents::jwt),
    ("jwt_key", documents::jwt_key),
    ("cdn_yaml", documents::cdn_yaml),
    ("archive", archive::archive),
    ("cache_state", state::cache_state),
    ("upload_state", state::upload_state),
    ("http_answer", answers::http_answer),
];

/// Checks the property `name` with one input.
///
/// # Panics
/// If the property is violated, or does not exist.
pub(crate) fn try_input(name: &str, input: &[u8]) {
    let reader = READERS.iter().find(|(known, _)| *known == name);
    let (_, check) = reader.unwrap_or_else(|| panic!("no reader {name}"));
    check(input);
}
