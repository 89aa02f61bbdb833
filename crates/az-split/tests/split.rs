//! az-split as a process: output files, overwriting, exit status.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use loader_seal::fragment::{Fragment, FragmentError, SetCard, join};
use loader_seal::{Key, SealOptions, Suite, parts, seal};
use loader_testkit::test_dir::TestDir;
use loader_testkit::{Finished, make_fifo, open_fifo};
use std::io::Write;
use std::process::Stdio;

fn empty_dir() -> TestDir {
    TestDir::new_in(env!("CARGO_TARGET_TMPDIR"))
}

fn az_split(dir: &TestDir, args: &[&str], stdin: &[u8]) -> Finished {
    dir.run(env!("CARGO_BIN_EXE_az-split"), args, stdin)
}

fn sealed(len: usize) -> Vec<u8> {
    let options = SealOptions {
        suite: Suite::AesGcm,
        segment_log2: 12,
        plaintext_len: Some(len as u64),
        metadata: loader_seal::Metadata::default(),
        spare_slots: 0,
        threads: 1,
    };
    let mut file = Vec::new();
    seal(&mut &vec![7; len][..], &mut file, &[Key::generate().unwrap()], &options).unwrap();
    file
}

#[test]
fn key_is_split_into_lines_that_can_be_joined() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    for args in [&[][..], &["-n", "7"], &["--scheme", "shamir", "-k", "2", "-n", "3"]] {
        let output = az_split(&dir, args, key.to_text().as_bytes());
        assert_eq!(output.status, 0);
        let fragments = Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap();
        assert_eq!(join(&fragments).unwrap().expose(), key.expose());
        let stderr = output.stderr;
        assert!(!stderr.contains("AZ-"), "{stderr}");
    }
}

#[test]
fn fragment_files_are_private_and_not_overwritten() {
    let dir = empty_dir();
    let args = ["--new-key", "--output-dir", "."];
    let output = az_split(&dir, &args, b"");
    assert_eq!((output.status, output.stdout.len()), (0, 0));
    let names = ["fragment-1-of-2.frag", "fragment-2-of-2.frag"];
    assert_eq!(dir.names(), names);
    let read = || names.map(|name| String::from_utf8(dir.read(name)).unwrap());
    let before = read();
    join(&Fragment::parse_all(&before.concat()).unwrap()).unwrap();
    for name in names {
        assert_eq!(dir.mode(name), 0o600);
    }
    assert_eq!(az_split(&dir, &args, b"").status, 73);
    assert_eq!(read(), before);
    assert_eq!(az_split(&dir, &["--new-key", "--force", "--output-dir", "."], b"").status, 0);
    assert_ne!(read(), before);
}

#[test]
fn output_file_is_not_overwritten() {
    let dir = empty_dir();
    let args = ["--new-key", "-o", "out"];
    assert_eq!(az_split(&dir, &args, b"").status, 0);
    let before = dir.read("out");
    let output = az_split(&dir, &args, b"");
    let stderr = output.stderr;
    assert!(output.status == 73 && stderr.contains("out: exists, and may be the only copy of a fragment"), "{stderr}");
    assert_eq!((dir.names(), dir.read("out")), (vec!["out".to_owned()], before.clone()));
    assert_eq!(az_split(&dir, &["--new-key", "--force", "-o", "out"], b"").status, 0);
    assert_ne!(dir.read("out"), before);
}

/// Runs az-split, and calls `meanwhile` after it has checked its output files, while it
/// waits for its key.
fn az_split_while(dir: &TestDir, args: &[&str], meanwhile: impl FnOnce()) -> Finished {
    let fifo = dir.path("key");
    make_fifo(&fifo);
    let args = [args, &["--key-file", "key"]].concat();
    let mut child = dir.command(env!("CARGO_BIN_EXE_az-split"), &args).stdin(Stdio::null()).spawn().unwrap();
    let mut key = open_fifo(&fifo, &mut child);
    meanwhile();
    key.write_all(Key::generate().unwrap().to_text().as_bytes()).unwrap();
    drop(key);
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(fifo).unwrap();
    output.into()
}

#[test]
fn files_created_during_the_run_are_not_replaced() {
    for n in 1..=3 {
        let dir = empty_dir();
        let name = format!("fragment-{n}-of-3.frag");
        let output = az_split_while(&dir, &["-n", "3", "-d", "."], || dir.write(&name, b"mine"));
        let stderr = output.stderr;
        assert!(output.status == 73 && stderr.contains("was created by another process"), "{stderr}");
        assert_eq!((dir.names(), dir.read(&name)), (vec![name], b"mine".to_vec()));
    }
    let dir = empty_dir();
    let args = ["--set-card", "card", "-d", "."];
    assert_eq!(az_split_while(&dir, &args, || dir.write("card", b"mine")).status, 73);
    assert_eq!((dir.names(), dir.read("card")), (vec!["card".to_owned()], b"mine".to_vec()));
    // The output file with the lines is not created either.
    let dir = empty_dir();
    let args = ["--set-card", "card", "-o", "out"];
    assert_eq!(az_split_while(&dir, &args, || dir.write("card", b"mine")).status, 73);
    assert_eq!((dir.names(), dir.read("card")), (vec!["card".to_owned()], b"mine".to_vec()));
}

#[test]
fn replaced_files_are_restored_after_a_failure() {
    let dir = empty_dir();
    let names = ["fragment-1-of-3.frag", "fragment-2-of-3.frag", "fragment-3-of-3.frag"];
    dir.write(names[0], b"first");
    let output = az_split_while(&dir, &["-n", "3", "--force", "-d", "."], || {
        std::fs::create_dir(dir.path(names[2])).unwrap();
    });
    assert_eq!(output.status, 74, "{}", output.stderr);
    assert_eq!((dir.names(), dir.read(names[0])), (vec![names[0].to_owned(), names[2].to_owned()], b"first".to_vec()));
    std::fs::remove_dir(dir.path(names[2])).unwrap();
    let output = az_split_while(&dir, &["-n", "3", "--force", "-d", "."], || dir.write(names[2], b"third"));
    assert_eq!((output.status, dir.names()), (0, names.map(str::to_owned).to_vec()));
    let lines = names.map(|name| String::from_utf8(dir.read(name)).unwrap());
    assert!(join(&Fragment::parse_all(&lines.concat()).unwrap()).is_ok());
}

#[test]
fn invalid_keys_and_options_have_their_exit_status() {
    let dir = empty_dir();
    let key = Key::generate().unwrap().to_text();
    assert_eq!(az_split(&dir, &[], b"").status, 65);
    assert_eq!(az_split(&dir, &[], b"hunter2").status, 65);
    assert_eq!(az_split(&dir, &["-k", "2", "-n", "3"], key.as_bytes()).status, 2);
    assert_eq!(az_split(&dir, &["-n", "1"], key.as_bytes()).status, 2);
    assert_eq!(az_split(&dir, &["-d", "none"], key.as_bytes()).status, 73);
    assert_eq!(az_split(&dir, &["--key-file", "none"], b"").status, 66);
}

#[test]
fn both_parts_and_receipt_are_written_or_none() {
    let dir = empty_dir();
    let file = sealed(1_000_000);
    let args = ["--parts", "a", "--name", "models/a"];
    let longer = [&file[..], &[0]].concat();
    for bad in [&file[..100], &file[..file.len() / 2], &longer, b"plain", b""] {
        let dir = empty_dir();
        let output = az_split(&dir, &args, bad);
        assert_eq!((output.status, output.stdout.len()), (65, 0), "{}", bad.len());
        assert!(dir.names().is_empty());
    }
    let output = az_split(&dir, &args, &file);
    assert_eq!(output.status, 0);
    assert_eq!(dir.names(), ["a.big", "a.small"]);
    let [small, big] = ["a.small", "a.big"].map(|name| dir.read(name));
    assert_eq!(small.len() as u64, parts::small_len(file.len() as u64, 139));
    assert_eq!([&small[..], &big].concat(), file);
    let (receipt, rest) = loader_model::PartsReceipt::split_prefix(&output.stdout).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!(receipt.name.unwrap().as_str(), "models/a");
    let digest = loader_seal::copy_digest(&big[..], std::io::sink()).unwrap();
    assert_eq!((receipt.big.size, receipt.big.sha256), (digest.len, digest.hex()));
}

#[test]
fn receipt_cannot_replace_a_part() {
    let dir = empty_dir();
    let file = sealed(100_000);
    for name in ["a.small", "./a.big"] {
        let output = az_split(&dir, &["--parts", "a", "-o", name], &file);
        assert_eq!((output.status, dir.names().len()), (2, 0), "{name}");
    }
    assert_eq!(az_split(&dir, &["--parts", "a", "-o", "a"], &file).status, 0);
    assert_eq!(dir.names(), ["a", "a.big", "a.small"]);
}

#[test]
fn set_card_is_written_with_its_fragments() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let card = |name: &str| SetCard::from_json(&dir.read(name)).unwrap();
    let args = ["--scheme", "shamir", "-k", "2", "-n", "5", "--set-card", "card"];
    let output = az_split(&dir, &args, key.to_text().as_bytes());
    assert_eq!(output.status, 0);
    let fragments = Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(fragments.len(), 5);
    assert!(fragments.iter().all(|fragment| card("card").check(fragment).is_ok()));
    let text = String::from_utf8(dir.read("card")).unwrap();
    assert!(text.contains("\"scheme\":\"shamir\",\"k\":2,\"n\":5") && text.contains(&key.id().to_string()), "{text}");
    assert!(!text.contains("AZ-"), "{text}");
    // The card of another set is not overwritten.
    let again = az_split(&dir, &args, key.to_text().as_bytes());
    assert_eq!((again.status, again.stdout.len()), (73, 0));
    assert_eq!(az_split(&dir, &["--new-key", "-d", ".", "--set-card", "none/card"], b"").status, 73);
    assert_eq!(dir.names(), ["card"]);
    assert_eq!(az_split(&dir, &["--new-key", "-d", ".", "--set-card", "card2"], b"").status, 0);
    assert_eq!(dir.names(), ["card", "card2", "fragment-1-of-2.frag", "fragment-2-of-2.frag"]);
    let one = String::from_utf8(dir.read("fragment-1-of-2.frag")).unwrap();
    assert!(card("card2").check(&Fragment::parse(one.trim()).unwrap()).is_ok());
    assert!(card("card").check(&Fragment::parse(one.trim()).unwrap()).is_err());
    assert_eq!(az_split(&dir, &["--parts", "x", "--set-card", "card3"], b"").status, 2);
}

#[test]
fn set_card_cannot_replace_a_fragment() {
    for args in [&["-o", "x", "--set-card", "./x"][..], &["-d", ".", "--set-card", "fragment-2-of-2.frag"]] {
        let dir = empty_dir();
        let output = az_split(&dir, &[&["--new-key", "--force"], args].concat(), b"");
        assert_eq!(output.status, 2, "{args:?}");
        assert!(dir.names().is_empty(), "{args:?}");
    }
}

#[test]
fn splitting_a_key_again_creates_a_new_set() {
    let dir = empty_dir();
    let key = Key::generate().unwrap();
    let split = |args: &[&str]| {
        let output = az_split(&dir, args, key.to_text().as_bytes());
        Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap()
    };
    let (old, new) =
        (split(&["--scheme", "shamir", "-k", "2", "-n", "3"]), split(&["--scheme", "shamir", "-k", "2", "-n", "3"]));
    assert_eq!(join(&new[1..]).unwrap().id(), key.id());
    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
        let mixed = [old[i].clone(), new[j].clone()];
        assert!(matches!(join(&mixed), Err(FragmentError::SetMismatch { .. })), "{i} {j}");
    }
    let xor = split(&["-n", "3"]);
    assert!(matches!(join(&[old[0].clone(), xor[1].clone()]), Err(FragmentError::SchemeMismatch { .. })));
}
