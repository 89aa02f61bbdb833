//! What holds of every input, whatever its bytes: a function for each reader of
//! what others wrote, which panics where it does not hold. `tests/properties.rs`
//! tries them with proptest, `tests/fuzz` with libFuzzer.

mod answers;
mod archive;
pub(crate) mod documents;
mod keys;
mod sealed;
mod state;

/// A reader, by the name of its fuzz target.
pub(crate) type Reader = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const READERS: [Reader; 13] = [
    ("header", sealed::header),
    ("tlvs", sealed::tlvs),
    ("stream", sealed::stream),
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

/// Tries one input on the reader called `name`.
///
/// # Panics
/// Where the property does not hold, or there is no such reader.
pub(crate) fn try_input(name: &str, input: &[u8]) {
    let reader = READERS.iter().find(|(known, _)| *known == name);
    let (_, check) = reader.unwrap_or_else(|| panic!("no reader {name}"));
    check(input);
}
