//! az-split as a process: output files, overwriting, exit status.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use loader_seal::fragment::{Fragment, FragmentError, SetCard, join};
use loader_seal::{Key, SealOptions, Suite, parts, seal};
use loader_testkit::test_dir::TestDir;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use std::fs::File;
use std::io::Write;
use std::process::{Output, Stdio};

fn empty_folder() -> TestDir {
    TestDir::new_in(env!("CARGO_TARGET_TMPDIR"))
}

fn az_split(folder: &TestDir, args: &[&str], stdin: &[u8]) -> Output {
    folder.run(env!("CARGO_BIN_EXE_az-split"), args, stdin)
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
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
    let folder = empty_folder();
    let key = Key::generate().unwrap();
    for args in [&[][..], &["-n", "7"], &["--scheme", "shamir", "-k", "2", "-n", "3"]] {
        let output = az_split(&folder, args, key.to_text().as_bytes());
        assert_eq!(status(&output), 0);
        let fragments = Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap();
        assert_eq!(join(&fragments).unwrap().expose(), key.expose());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("AZ-"), "{stderr}");
    }
}

#[test]
fn fragment_files_are_private_and_not_overwritten() {
    let folder = empty_folder();
    let args = ["--new-key", "--output-dir", "."];
    let output = az_split(&folder, &args, b"");
    assert_eq!((status(&output), output.stdout.len()), (0, 0));
    let names = ["fragment-1-of-2.frag", "fragment-2-of-2.frag"];
    assert_eq!(folder.names(), names);
    let read = || names.map(|name| String::from_utf8(folder.read(name)).unwrap());
    let before = read();
    join(&Fragment::parse_all(&before.concat()).unwrap()).unwrap();
    for name in names {
        assert_eq!(folder.mode(name), 0o600);
    }
    assert_eq!(status(&az_split(&folder, &args, b"")), 73);
    assert_eq!(read(), before);
    assert_eq!(status(&az_split(&folder, &["--new-key", "--force", "--output-dir", "."], b"")), 0);
    assert_ne!(read(), before);
}

#[test]
fn output_file_is_not_overwritten() {
    let folder = empty_folder();
    let args = ["--new-key", "-o", "out"];
    assert_eq!(status(&az_split(&folder, &args, b"")), 0);
    let before = folder.read("out");
    let output = az_split(&folder, &args, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        status(&output) == 73 && stderr.contains("out: exists, and may be the only copy of a fragment"),
        "{stderr}"
    );
    assert_eq!((folder.names(), folder.read("out")), (vec!["out".to_owned()], before.clone()));
    assert_eq!(status(&az_split(&folder, &["--new-key", "--force", "-o", "out"], b"")), 0);
    assert_ne!(folder.read("out"), before);
}

/// Runs az-split, and calls `meanwhile` after it has checked its output files, while it
/// waits for its key.
fn az_split_while(folder: &TestDir, args: &[&str], meanwhile: impl FnOnce()) -> Output {
    let fifo = folder.path("key");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let args = [args, &["--key-file", "key"]].concat();
    let mut command = folder.command(env!("CARGO_BIN_EXE_az-split"), &args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut key = loop {
        // Fails with ENXIO until there is a reader.
        match open(&fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(end) => break File::from(end),
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "exited before it opened its key"),
        }
        std::thread::yield_now();
    };
    meanwhile();
    key.write_all(Key::generate().unwrap().to_text().as_bytes()).unwrap();
    drop(key);
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(fifo).unwrap();
    output
}

#[test]
fn files_created_during_the_run_are_not_replaced() {
    for n in 1..=3 {
        let folder = empty_folder();
        let name = format!("fragment-{n}-of-3.frag");
        let output = az_split_while(&folder, &["-n", "3", "-d", "."], || folder.write(&name, b"mine"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(status(&output) == 73 && stderr.contains("was created by another process"), "{stderr}");
        assert_eq!((folder.names(), folder.read(&name)), (vec![name], b"mine".to_vec()));
    }
    let folder = empty_folder();
    let args = ["--set-card", "card", "-d", "."];
    assert_eq!(status(&az_split_while(&folder, &args, || folder.write("card", b"mine"))), 73);
    assert_eq!((folder.names(), folder.read("card")), (vec!["card".to_owned()], b"mine".to_vec()));
    // The output file with the lines is not created either.
    let folder = empty_folder();
    let args = ["--set-card", "card", "-o", "out"];
    assert_eq!(status(&az_split_while(&folder, &args, || folder.write("card", b"mine"))), 73);
    assert_eq!((folder.names(), folder.read("card")), (vec!["card".to_owned()], b"mine".to_vec()));
}

#[test]
fn replaced_files_are_restored_after_a_failure() {
    let folder = empty_folder();
    let names = ["fragment-1-of-3.frag", "fragment-2-of-3.frag", "fragment-3-of-3.frag"];
    folder.write(names[0], b"first");
    let output = az_split_while(&folder, &["-n", "3", "--force", "-d", "."], || {
        std::fs::create_dir(folder.path(names[2])).unwrap();
    });
    assert_eq!(status(&output), 74, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        (folder.names(), folder.read(names[0])),
        (vec![names[0].to_owned(), names[2].to_owned()], b"first".to_vec())
    );
    std::fs::remove_dir(folder.path(names[2])).unwrap();
    let output = az_split_while(&folder, &["-n", "3", "--force", "-d", "."], || folder.write(names[2], b"third"));
    assert_eq!((status(&output), folder.names()), (0, names.map(str::to_owned).to_vec()));
    let lines = names.map(|name| String::from_utf8(folder.read(name)).unwrap());
    assert!(join(&Fragment::parse_all(&lines.concat()).unwrap()).is_ok());
}

#[test]
fn invalid_keys_and_options_have_their_exit_status() {
    let folder = empty_folder();
    let key = Key::generate().unwrap().to_text();
    assert_eq!(status(&az_split(&folder, &[], b"")), 65);
    assert_eq!(status(&az_split(&folder, &[], b"hunter2")), 65);
    assert_eq!(status(&az_split(&folder, &["-k", "2", "-n", "3"], key.as_bytes())), 2);
    assert_eq!(status(&az_split(&folder, &["-n", "1"], key.as_bytes())), 2);
    assert_eq!(status(&az_split(&folder, &["-d", "none"], key.as_bytes())), 73);
    assert_eq!(status(&az_split(&folder, &["--key-file", "none"], b"")), 66);
}

#[test]
fn both_parts_and_receipt_are_written_or_none() {
    let folder = empty_folder();
    let file = sealed(1_000_000);
    let args = ["--parts", "a", "--name", "models/a"];
    let longer = [&file[..], &[0]].concat();
    for bad in [&file[..100], &file[..file.len() / 2], &longer, b"plain", b""] {
        let folder = empty_folder();
        let output = az_split(&folder, &args, bad);
        assert_eq!((status(&output), output.stdout.len()), (65, 0), "{}", bad.len());
        assert!(folder.names().is_empty());
    }
    let output = az_split(&folder, &args, &file);
    assert_eq!(status(&output), 0);
    assert_eq!(folder.names(), ["a.big", "a.small"]);
    let [small, big] = ["a.small", "a.big"].map(|name| folder.read(name));
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
    let folder = empty_folder();
    let file = sealed(100_000);
    for name in ["a.small", "./a.big"] {
        let output = az_split(&folder, &["--parts", "a", "-o", name], &file);
        assert_eq!((status(&output), folder.names().len()), (2, 0), "{name}");
    }
    assert_eq!(status(&az_split(&folder, &["--parts", "a", "-o", "a"], &file)), 0);
    assert_eq!(folder.names(), ["a", "a.big", "a.small"]);
}

#[test]
fn set_card_is_written_with_its_fragments() {
    let folder = empty_folder();
    let key = Key::generate().unwrap();
    let card = |name: &str| SetCard::from_json(&folder.read(name)).unwrap();
    let args = ["--scheme", "shamir", "-k", "2", "-n", "5", "--set-card", "card"];
    let output = az_split(&folder, &args, key.to_text().as_bytes());
    assert_eq!(status(&output), 0);
    let fragments = Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(fragments.len(), 5);
    assert!(fragments.iter().all(|fragment| card("card").check(fragment).is_ok()));
    let text = String::from_utf8(folder.read("card")).unwrap();
    assert!(text.contains("\"scheme\":\"shamir\",\"k\":2,\"n\":5") && text.contains(&key.id().to_string()), "{text}");
    assert!(!text.contains("AZ-"), "{text}");
    // The card of another set is not overwritten.
    let again = az_split(&folder, &args, key.to_text().as_bytes());
    assert_eq!((status(&again), again.stdout.len()), (73, 0));
    assert_eq!(status(&az_split(&folder, &["--new-key", "-d", ".", "--set-card", "none/card"], b"")), 73);
    assert_eq!(folder.names(), ["card"]);
    assert_eq!(status(&az_split(&folder, &["--new-key", "-d", ".", "--set-card", "card2"], b"")), 0);
    assert_eq!(folder.names(), ["card", "card2", "fragment-1-of-2.frag", "fragment-2-of-2.frag"]);
    let one = String::from_utf8(folder.read("fragment-1-of-2.frag")).unwrap();
    assert!(card("card2").check(&Fragment::parse(one.trim()).unwrap()).is_ok());
    assert!(card("card").check(&Fragment::parse(one.trim()).unwrap()).is_err());
    assert_eq!(status(&az_split(&folder, &["--parts", "x", "--set-card", "card3"], b"")), 2);
}

#[test]
fn set_card_cannot_replace_a_fragment() {
    for args in [&["-o", "x", "--set-card", "./x"][..], &["-d", ".", "--set-card", "fragment-2-of-2.frag"]] {
        let folder = empty_folder();
        let output = az_split(&folder, &[&["--new-key", "--force"], args].concat(), b"");
        assert_eq!(status(&output), 2, "{args:?}");
        assert!(folder.names().is_empty(), "{args:?}");
    }
}

#[test]
fn splitting_a_key_again_creates_a_new_set() {
    let folder = empty_folder();
    let key = Key::generate().unwrap();
    let split = |args: &[&str]| {
        let output = az_split(&folder, args, key.to_text().as_bytes());
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
