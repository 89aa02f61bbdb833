//! az-join as a process: keys from fragments, files from parts, exit status.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::fragment::{Scheme, split};
use loader_seal::{Key, copy_digest};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder that goes away at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("join-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn az_join(folder: &Folder, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_az-join"))
        .args(args)
        .current_dir(&folder.0)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A filter that refuses its command line reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn refused(output: &Output, status: i32, code: &str) {
    let stderr = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(&format!("\"code\":\"{code}\"")), "{stderr}");
    assert!(!stderr.contains("AZ-"), "{stderr}");
}

fn lines(key: &Key, k: u8, n: u8) -> Vec<String> {
    let fragments = split(key, Scheme::Shamir, k, n).unwrap();
    fragments.iter().map(|fragment| format!("{}\n", *fragment.to_text())).collect()
}

#[test]
fn fragments_come_from_standard_input_and_files() {
    let folder = Folder::new("key");
    let key = Key::generate().unwrap();
    let set = lines(&key, 3, 4);
    folder.put("device.frag", format!("# device\r\n{}", set[3]).as_bytes());
    let two = [set[0].as_bytes(), set[2].as_bytes()].concat();
    let output = az_join(&folder, &["-", "device.frag"], &two);
    assert_eq!(output.stdout, format!("{}\n", *key.to_text()).as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let output = az_join(&folder, &["--raw-sha256"], b"\xffraw\n");
    assert_eq!(output.stdout, format!("{}\n", *Key::from_raw_fragment(b"\xffraw\n").to_text()).as_bytes());
}

#[test]
fn what_does_not_give_a_key_has_its_exit_status() {
    let folder = Folder::new("refused");
    let key = Key::generate().unwrap();
    let (set, other) = (lines(&key, 2, 2), lines(&key, 2, 2));
    let join = |text: &str| az_join(&folder, &[], text.as_bytes());
    refused(&join(""), 65, "no_input");
    refused(&join("hunter2"), 65, "malformed");
    refused(&join(&set[0].replacen('Q', "P", 1)), 65, "malformed");
    refused(&join(&key.to_text()), 65, "malformed");
    refused(&az_join(&folder, &[], b"\xff\xfe"), 65, "malformed");
    refused(&join(&set[0]), 79, "wrong_fragment");
    refused(&join(&[set[0].as_str(), &set[0]].concat()), 79, "wrong_fragment");
    refused(&join(&[set[0].as_str(), &other[1]].concat()), 79, "wrong_fragment");
    refused(&az_join(&folder, &["-", "-"], set.concat().as_bytes()), 2, "usage");
    refused(&az_join(&folder, &["none"], b""), 66, "not_found");
}

#[test]
fn parts_are_joined_and_held_to_their_receipt() {
    let folder = Folder::new("parts");
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let file = fs::read(vectors.join("ok_s2_20000.azs")).unwrap();
    let (small, big) = file.split_at(6000);
    let part = |bytes: &[u8]| {
        let digest = copy_digest(bytes, std::io::sink()).unwrap();
        PartReceipt { size: digest.len, sha256: digest.hex() }
    };
    let receipt = PartsReceipt { parts: 1, name: None, small: part(small), big: part(big) }.to_line();
    let mut damaged = big.to_vec();
    damaged[1000] ^= 1;
    let files = [("small", small), ("big", big), ("receipt", &receipt), ("damaged", &damaged), ("cut", &big[1..])];
    files.into_iter().for_each(|(name, bytes)| folder.put(name, bytes));
    folder.put("published", &[&receipt[..], small].concat());

    for args in [&["--parts", "small", "-"][..], &["published", "-", "--parts"]] {
        assert_eq!(az_join(&folder, args, big).stdout, file);
    }
    let args = ["--parts", "small", "big", "--receipt", "receipt", "-o", "whole"];
    assert_eq!(az_join(&folder, &args, b"").status.code(), Some(0));
    assert_eq!(fs::read(folder.0.join("whole")).unwrap(), file);

    let swapped = az_join(&folder, &["--parts", "big", "small"], b"");
    refused(&swapped, 65, "not_sealed");
    let cut = az_join(&folder, &["--parts", "published", "cut"], b"");
    refused(&cut, 65, "digest_mismatch");
    assert!(swapped.stdout.is_empty() && cut.stdout.is_empty());
    refused(&az_join(&folder, &["--parts", "published", "-", "-o", "bad"], &big[1..]), 65, "truncated");
    refused(&az_join(&folder, &["--parts", "published", "damaged", "-o", "bad"], b""), 65, "digest_mismatch");
    refused(&az_join(&folder, &["--parts", "small"], b""), 2, "usage");
    refused(&az_join(&folder, &["--parts", "small", "big", "--receipt", "small"], b""), 65, "malformed");
    assert!(!folder.0.join("bad").exists());
}
