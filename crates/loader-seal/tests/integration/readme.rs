//! The example of the README, derived step by step as the README describes. From this crate
//! only the parser for key lines is used.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use loader_seal::Key;
use sha2::Sha256;

const README: &str = include_str!("../../README.md");
const FILE: &[u8] = include_bytes!("../../../../tests/vectors/ok_s2_1.azs");

fn derive(key: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, &mut out).unwrap();
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the value of the row `what` in the table of the example.
fn cell(what: &str) -> &str {
    let row = README.lines().rev().find_map(|line| line.strip_prefix(&format!("| {what} | `")));
    row.unwrap_or_else(|| panic!("no row {what}")).split('`').next().unwrap()
}

#[test]
fn values_of_the_example_are_correct() {
    let key = Key::parse(cell("key line")).unwrap();
    let (key, header_len) = (key.expose(), u32::from_be_bytes(FILE[36..40].try_into().unwrap()) as usize);
    let file_id = &FILE[20..36];
    // The second slot: its field comes after the fixed part and the first slot.
    let slot = &FILE[40 + 67 + 3..][..64];
    let pad = derive(key, &slot[16..32], &[b"azs/v1/wrap", file_id].concat());
    let file_key: Vec<u8> = slot[32..].iter().zip(pad).map(|(wrapped, pad)| wrapped ^ pad).collect();
    let header_key = derive(&file_key, b"", b"azs/v1/header");
    let mut mac = Hmac::<Sha256>::new_from_slice(&header_key).unwrap();
    mac.update(&FILE[..header_len - 32]);
    let stream_key = derive(&file_key, b"", b"azs/v1/stream");
    let stream = &FILE[header_len..];
    let steps = [
        ("K", hex(key)),
        ("key id", hex(&derive(key, b"", b"azs/v1/key-id")[..16])),
        ("file id", hex(file_id)),
        ("slot's salt", hex(&slot[16..32])),
        ("pad of the slot", hex(&pad)),
        ("FK", hex(&file_key)),
        ("header key", hex(&header_key)),
        ("MAC, at 174", hex(&mac.finalize().into_bytes())),
        ("stream key", hex(&stream_key)),
        ("stream's salt, at 207", hex(&stream[1..33])),
        ("key of the segments", hex(&derive(&stream_key, &stream[1..33], &FILE[..36]))),
        ("nonce of segment 0, the last", hex(&[&stream[33..40], &[0, 0, 0, 0, 1]].concat())),
    ];
    for (what, value) in steps {
        assert_eq!(cell(what), value, "{what}");
    }
    assert_eq!(cell("MAC, at 174"), hex(&FILE[174..206]));
    assert_eq!(cell("stream's salt, at 207"), hex(&FILE[207..239]));
    assert_eq!(cell("key id"), hex(&slot[..16]));
}
