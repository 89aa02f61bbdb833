//! Keys, fragments and the plain layout, checked with the vectors of an independent
//! implementation.

use loader_seal::fragment::{Scheme, join};
use loader_seal::{Fragment, Key, KeyId, PlainCtr, copy_digest};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn vector_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

fn vectors() -> Value {
    serde_json::from_slice(&std::fs::read(vector_file("vectors.json")).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn key(line: &Value) -> Key {
    let key = Key::parse(text(line)).unwrap();
    assert_eq!(*key.to_text(), text(line));
    key
}

fn fragments(lines: &Value) -> Vec<Fragment> {
    let parse = |line| {
        let fragment = Fragment::parse(text(line)).unwrap();
        assert_eq!(*fragment.to_text(), text(line));
        fragment
    };
    lines.as_array().unwrap().iter().map(parse).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn key_ids_match_the_vectors() {
    let all = vectors();
    let all = all["vectors"].as_array().unwrap();
    assert!(!all.is_empty());
    for vector in all {
        let id: KeyId = text(&vector["key_id"]).parse().unwrap();
        // A vector for a wrong key contains the key it is opened with.
        assert_eq!(key(&vector["key"]).id(), id, "{}", vector["name"]);
        assert_eq!(id.to_string(), text(&vector["key_id"]));
    }
}

#[test]
fn two_of_two_fragments_are_joined() {
    let all = &vectors()["fragments"];
    let pair = fragments(&all["xor_2_of_2"]);
    let joined = join(&pair).unwrap();
    assert_eq!(*joined.to_text(), text(&all["key"]));
    assert_eq!(joined.id().to_string(), text(&all["key_id"]));
    assert!(pair.iter().all(|f| f.scheme() == Scheme::Xor && f.shares() == 2 && f.key_id() == joined.id()));
}

#[test]
fn any_three_of_five_fragments_are_joined() {
    let all = &vectors()["fragments"];
    let five = fragments(&all["shamir_3_of_5"]);
    assert_eq!(five.len(), 5);
    for mask in 0..32_u32 {
        let chosen: Vec<_> = (0..5).filter(|i| mask >> i & 1 == 1).map(|i| five[i].clone()).collect();
        let joined = join(&chosen);
        assert_eq!(joined.is_ok(), mask.count_ones() >= 3, "{mask:05b}");
        if let Ok(joined) = joined {
            assert_eq!(*joined.to_text(), text(&all["key"]));
        }
    }
}

#[test]
fn key_of_a_raw_fragment_opens_the_plain_archive() {
    let all = &vectors()["fragments"];
    let key = Key::from_raw_fragment(&unhex(text(&all["raw_fragment_hex"])));
    assert_eq!(*key.to_text(), text(&all["raw_key"]));

    let archive = std::fs::read(vector_file(text(&all["plain_ctr"]["file"]))).unwrap();
    let digest = copy_digest(&archive[..], std::io::sink()).unwrap();
    assert_eq!(digest.hex(), text(&all["plain_ctr"]["file_sha256"]));
    let mut plaintext = Vec::new();
    PlainCtr::new(&key).open(&archive[..], &mut plaintext).unwrap();
    let digest = copy_digest(&plaintext[..], std::io::sink()).unwrap();
    assert_eq!(digest.hex(), text(&all["plain_ctr"]["plaintext_sha256"]));
}
