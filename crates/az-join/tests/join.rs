//! az-join as a process: joining fragments and parts, exit status.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use loader_model::{PartReceipt, PartsReceipt};
use loader_seal::fragment::{Fragment, Scheme, SetCard, split};
use loader_seal::{Key, copy_digest};
use loader_testkit::Finished;
use loader_testkit::test_dir::{TestDir, assert_refused};
use std::path::Path;

fn empty_dir() -> TestDir {
    TestDir::new_in(env!("CARGO_TARGET_TMPDIR"))
}

fn az_join(dir: &TestDir, args: &[&str], stdin: &[u8]) -> Finished {
    dir.run(env!("CARGO_BIN_EXE_az-join"), args, stdin)
}

fn lines(key: &Key, k: u8, n: u8) -> Vec<String> {
    let fragments = split(key, Scheme::Shamir, k, n).unwrap();
    fragments.iter().map(|fragment| format!("{}\n", *fragment.to_text())).collect()
}

#[test]
fn fragments_come_from_standard_input_and_files() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let set = lines(&key, 3, 4);
    dir.write("device.frag", format!("# device\r\n{}", set[3]).as_bytes());
    let two = [set[0].as_bytes(), set[2].as_bytes()].concat();
    let output = az_join(&dir, &["-", "device.frag"], &two);
    assert_eq!(output.stdout, format!("{}\n", *key.to_text()).as_bytes());
    assert_eq!(output.status, 0);
    let output = az_join(&dir, &["--raw-sha256"], b"\xffraw\n");
    assert_eq!(output.stdout, format!("{}\n", *Key::from_raw_fragment(b"\xffraw\n").to_text()).as_bytes());
}

#[test]
fn fragments_that_cannot_be_joined_have_their_exit_status() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let (set, other) = (lines(&key, 2, 2), lines(&key, 2, 2));
    let join = |text: &str| az_join(&dir, &[], text.as_bytes());
    assert_refused(&join(""), 65, "no_input");
    assert_refused(&join("hunter2"), 65, "malformed");
    assert_refused(&join(&set[0].replacen('Q', "P", 1)), 65, "malformed");
    assert_refused(&join(&key.to_text()), 65, "malformed");
    assert_refused(&az_join(&dir, &[], b"\xff\xfe"), 65, "malformed");
    assert_refused(&join(&set[0]), 79, "wrong_fragment");
    assert_refused(&join(&[set[0].as_str(), &set[0]].concat()), 79, "wrong_fragment");
    assert_refused(&join(&[set[0].as_str(), &other[1]].concat()), 79, "wrong_fragment");
    assert_refused(&az_join(&dir, &["-", "-"], set.concat().as_bytes()), 2, "usage");
    assert_refused(&az_join(&dir, &["none"], b""), 66, "not_found");
}

#[test]
fn parts_are_joined_and_checked_against_their_receipt() {
    let dir = empty_dir();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let file = std::fs::read(vectors.join("ok_s2_20000.azs")).unwrap();
    let (small, big) = file.split_at(6000);
    let part = |bytes: &[u8]| {
        let digest = copy_digest(bytes, std::io::sink()).unwrap();
        PartReceipt { size: digest.len, sha256: digest.hex() }
    };
    let receipt = PartsReceipt { parts: 1, name: None, small: part(small), big: part(big) }.to_line();
    let mut damaged = big.to_vec();
    damaged[1000] ^= 1;
    let files = [("small", small), ("big", big), ("receipt", &receipt), ("damaged", &damaged), ("cut", &big[1..])];
    files.into_iter().for_each(|(name, bytes)| dir.write(name, bytes));
    dir.write("published", &[&receipt[..], small].concat());

    for args in [&["--parts", "small", "-"][..], &["published", "-", "--parts"]] {
        assert_eq!(az_join(&dir, args, big).stdout, file);
    }
    let args = ["--parts", "small", "big", "--receipt", "receipt", "-o", "whole"];
    assert_eq!(az_join(&dir, &args, b"").status, 0);
    assert_eq!(dir.read("whole"), file);

    let swapped = az_join(&dir, &["--parts", "big", "small"], b"");
    assert_refused(&swapped, 65, "not_sealed");
    let cut = az_join(&dir, &["--parts", "published", "cut"], b"");
    assert_refused(&cut, 65, "digest_mismatch");
    assert!(swapped.stdout.is_empty() && cut.stdout.is_empty());
    assert_refused(&az_join(&dir, &["--parts", "published", "-", "-o", "bad"], &big[1..]), 65, "truncated");
    assert_refused(&az_join(&dir, &["--parts", "published", "damaged", "-o", "bad"], b""), 65, "digest_mismatch");
    assert_refused(&az_join(&dir, &["--parts", "small"], b""), 2, "usage");
    assert_refused(&az_join(&dir, &["--parts", "small", "big", "--receipt", "small"], b""), 65, "malformed");
    assert!(!dir.path("bad").exists());
}

#[test]
fn each_mismatch_has_its_own_message() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let (set, again, wide) = (lines(&key, 2, 3), lines(&key, 2, 3), lines(&key, 3, 3));
    let foreign = lines(&Key::generate().unwrap(), 2, 3);
    let message = |parts: &[&str]| {
        let output = az_join(&dir, &[], parts.concat().as_bytes());
        assert_refused(&output, 79, "wrong_fragment");
        output.stderr
    };
    let stale = "the key was split again: use fragments of one set";
    for (parts, expected) in [
        (&[&set[0][..]][..], &["needs 2 fragments, has 1"][..]),
        (&[&set[1], &set[1]], &["fragment 2 occurs twice"]),
        (&[&set[0], &again[1]], &["fragment 2 is from another set", stale]),
        (
            &[&set[0], &wide[1]],
            &["fragment 2 is from a set that needs 3, the first fragment is from a set that needs 2", stale],
        ),
        (&[&set[0], &foreign[2]], &["fragment 3 is from another set"]),
    ] {
        let message = message(parts);
        for text in expected {
            assert!(message.contains(text), "{text}: {message}");
        }
    }
    assert!(!message(&[&set[0], &foreign[2]]).contains(stale));
    let damaged =
        az_join(&dir, &[], [&set[0], &set[1].replacen("AZ-FRAG-1Q", "AZ-FRAG-1P", 1)[..]].concat().as_bytes());
    assert_refused(&damaged, 65, "malformed");
    assert!(damaged.stderr.contains("line 2: the line is damaged"));
}

#[test]
fn set_card_identifies_the_bad_fragment() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let fragments = split(&key, Scheme::Shamir, 2, 4).unwrap();
    dir.write("card", &SetCard::from_fragments(&fragments).unwrap().to_line());
    let line = |fragment: &Fragment| format!("{}\n", *fragment.to_text());
    for fragment in &fragments {
        dir.write(&format!("{}.frag", fragment.index()), line(fragment).as_bytes());
    }
    // The line is valid, so only the set card can identify the altered fragment.
    let mut bytes = fragments[2].to_bytes();
    bytes[60] ^= 1;
    dir.write("altered.frag", line(&Fragment::from_bytes(&bytes).unwrap()).as_bytes());
    dir.write("stale.frag", lines(&key, 2, 4)[1].as_bytes());
    dir.write("foreign.frag", lines(&Key::generate().unwrap(), 2, 4)[1].as_bytes());

    let output = az_join(&dir, &["--set-card", "card", "4.frag", "2.frag"], b"");
    assert_eq!(output.stdout, format!("{}\n", *key.to_text()).as_bytes());
    assert_eq!(az_join(&dir, &["--set-card", "-", "4.frag", "2.frag"], &dir.read("card")).stdout, output.stdout);
    for (name, why) in [
        ("altered.frag", "altered.frag: fragment 3 was altered: its hash is not the one on the set card"),
        ("stale.frag", "stale.frag: fragment 2 is stale: it is from set "),
        ("foreign.frag", "foreign.frag: fragment 2 is foreign: it is for key azkey1"),
    ] {
        let output = az_join(&dir, &["--set-card", "card", "1.frag", name], b"");
        assert_refused(&output, 79, "wrong_fragment");
        assert!(output.stderr.contains(why), "{}", output.stderr);
        assert!(output.stdout.is_empty());
    }
    let without = az_join(&dir, &["1.frag", "altered.frag"], b"");
    assert_refused(&without, 79, "wrong_fragment");
    assert!(without.stderr.contains("the result does not match key"));
    assert_refused(&az_join(&dir, &["--set-card", "card", "1.frag"], b""), 79, "wrong_fragment");
    assert_refused(&az_join(&dir, &["--set-card", "1.frag", "1.frag", "2.frag"], b""), 65, "malformed");
    assert_refused(&az_join(&dir, &["--set-card", "none", "1.frag", "2.frag"], b""), 66, "not_found");
    assert_refused(&az_join(&dir, &["--set-card", "card", "--raw-sha256", "1.frag"], b""), 2, "usage");
}
