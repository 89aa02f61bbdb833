//! Files of an independent implementation: each opens, or is refused with one of the
//! allowed codes and releases no byte outside the allowed prefix.

use loader_model::Coded;
use loader_seal::{Error, Header, Key};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::Path;

/// Reader that returns at most seven bytes per call.
struct ShortReads<'a>(&'a [u8]);

impl Read for ShortReads<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(7);
        self.0.read(&mut buf[..len])
    }
}

fn open(mut input: impl Read + Send, key: &str, threads: usize, output: &mut Vec<u8>) -> Result<u64, Error> {
    let key = Key::parse(key)?;
    Header::read(&mut input)?.unlock(&[key])?.open(&mut input, output, threads)
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_vector_has_its_expected_outcome() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let index: Value = serde_json::from_slice(&fs::read(dir.join("vectors.json")).unwrap()).unwrap();
    let vectors = index["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 74, "only {} vectors", vectors.len());
    for vector in vectors {
        let text = |field: &str| vector[field].as_str().unwrap();
        let sealed = fs::read(dir.join(text("file"))).unwrap();
        let may_release = vector["may_release_len"].as_u64().unwrap() as usize;
        for threads in [1, 2, 5] {
            let name = format!("{} with {threads} threads", text("name"));
            let mut released = Vec::new();
            let outcome = open(&sealed[..], text("key"), threads, &mut released);
            match outcome {
                Ok(len) => {
                    assert_eq!(text("expect"), "success", "{name}");
                    assert_eq!(len, vector["plaintext_len"], "{name}");
                    assert_eq!(hex_digest(&released), text("plaintext_sha256"), "{name}");
                }
                Err(error) => {
                    assert!(text("expect").split('|').any(|code| code == error.code().as_str()), "{name}: {error}");
                    assert!(released.len() <= may_release, "{name}: released {}", released.len());
                    if released.len() == may_release {
                        assert_eq!(hex_digest(&released), text("may_release_sha256"), "{name}");
                    }
                }
            }
            let mut with_short_reads = Vec::new();
            let _ = open(ShortReads(&sealed), text("key"), threads, &mut with_short_reads);
            assert_eq!(with_short_reads, released, "{name}: short reads change the output");
        }
    }
}
