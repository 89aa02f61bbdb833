//! az-split as a process: what it writes, where, and with which exit status.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

use loader_seal::fragment::{Fragment, FragmentError, SetCard, join};
use loader_seal::{Key, SealOptions, Suite, parts, seal};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder that goes away at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("split-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn az_split(folder: &Folder, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_az-split"))
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
fn a_key_becomes_lines_that_give_it_again() {
    let folder = Folder::new("lines");
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
fn fragments_in_files_are_closed_to_others_and_not_overwritten() {
    let folder = Folder::new("files");
    let args = ["--new-key", "--output-dir", "."];
    let output = az_split(&folder, &args, b"");
    assert_eq!((status(&output), output.stdout.len()), (0, 0));
    let names = ["fragment-1-of-2.frag", "fragment-2-of-2.frag"];
    assert_eq!(folder.names(), names);
    let read = || names.map(|name| fs::read_to_string(folder.0.join(name)).unwrap());
    let before = read();
    join(&Fragment::parse_all(&before.concat()).unwrap()).unwrap();
    for name in names {
        assert_eq!(fs::metadata(folder.0.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(status(&az_split(&folder, &args, b"")), 73);
    assert_eq!(read(), before);
    assert_eq!(status(&az_split(&folder, &["--new-key", "--force", "--output-dir", "."], b"")), 0);
    assert_ne!(read(), before);
}

#[test]
fn what_cannot_be_cut_has_its_exit_status() {
    let folder = Folder::new("refused");
    let key = Key::generate().unwrap().to_text();
    assert_eq!(status(&az_split(&folder, &[], b"")), 65);
    assert_eq!(status(&az_split(&folder, &[], b"hunter2")), 65);
    assert_eq!(status(&az_split(&folder, &["-k", "2", "-n", "3"], key.as_bytes())), 2);
    assert_eq!(status(&az_split(&folder, &["-n", "1"], key.as_bytes())), 2);
    assert_eq!(status(&az_split(&folder, &["-d", "none"], key.as_bytes())), 73);
    assert_eq!(status(&az_split(&folder, &["--key-file", "none"], b"")), 66);
}

#[test]
fn both_parts_appear_with_their_receipt_or_neither() {
    let folder = Folder::new("parts");
    let file = sealed(1_000_000);
    let args = ["--parts", "a", "--name", "models/a"];
    let longer = [&file[..], &[0]].concat();
    for bad in [&file[..100], &file[..file.len() / 2], &longer, b"plain", b""] {
        let folder = Folder::new("parts-refused");
        let output = az_split(&folder, &args, bad);
        assert_eq!((status(&output), output.stdout.len()), (65, 0), "{}", bad.len());
        assert!(folder.names().is_empty());
    }
    let output = az_split(&folder, &args, &file);
    assert_eq!(status(&output), 0);
    assert_eq!(folder.names(), ["a.big", "a.small"]);
    let [small, big] = ["a.small", "a.big"].map(|name| fs::read(folder.0.join(name)).unwrap());
    assert_eq!(small.len() as u64, parts::small_len(file.len() as u64, 139));
    assert_eq!([&small[..], &big].concat(), file);
    let (receipt, rest) = loader_model::PartsReceipt::take_from(&output.stdout).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!(receipt.name.unwrap().as_str(), "models/a");
    let digest = loader_seal::copy_digest(&big[..], std::io::sink()).unwrap();
    assert_eq!((receipt.big.size, receipt.big.sha256), (digest.len, digest.hex()));
}

#[test]
fn a_set_card_appears_with_the_fragments_it_describes() {
    let folder = Folder::new("card");
    let key = Key::generate().unwrap();
    let card = |name: &str| SetCard::from_json(&fs::read(folder.0.join(name)).unwrap()).unwrap();
    let args = ["--scheme", "shamir", "-k", "2", "-n", "5", "--set-card", "card"];
    let output = az_split(&folder, &args, key.to_text().as_bytes());
    assert_eq!(status(&output), 0);
    let fragments = Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(fragments.len(), 5);
    assert!(fragments.iter().all(|fragment| card("card").check(fragment).is_ok()));
    let text = fs::read_to_string(folder.0.join("card")).unwrap();
    assert!(text.contains("\"scheme\":\"shamir\",\"k\":2,\"n\":5") && text.contains(&key.id().to_string()), "{text}");
    assert!(!text.contains("AZ-"), "{text}");
    // The card of a set in use is not lost to another.
    let again = az_split(&folder, &args, key.to_text().as_bytes());
    assert_eq!((status(&again), again.stdout.len()), (73, 0));
    assert_eq!(status(&az_split(&folder, &["--new-key", "-d", ".", "--set-card", "none/card"], b"")), 73);
    assert_eq!(folder.names(), ["card"]);
    assert_eq!(status(&az_split(&folder, &["--new-key", "-d", ".", "--set-card", "card2"], b"")), 0);
    assert_eq!(folder.names(), ["card", "card2", "fragment-1-of-2.frag", "fragment-2-of-2.frag"]);
    let one = fs::read_to_string(folder.0.join("fragment-1-of-2.frag")).unwrap();
    assert!(card("card2").check(&Fragment::parse(one.trim()).unwrap()).is_ok());
    assert!(card("card").check(&Fragment::parse(one.trim()).unwrap()).is_err());
    assert_eq!(status(&az_split(&folder, &["--parts", "x", "--set-card", "card3"], b"")), 2);
}

#[test]
fn a_key_that_is_cut_again_makes_a_set_of_its_own() {
    let folder = Folder::new("again");
    let key = Key::generate().unwrap();
    let cut = |args: &[&str]| {
        let output = az_split(&folder, args, key.to_text().as_bytes());
        Fragment::parse_all(str::from_utf8(&output.stdout).unwrap()).unwrap()
    };
    let (old, new) =
        (cut(&["--scheme", "shamir", "-k", "2", "-n", "3"]), cut(&["--scheme", "shamir", "-k", "2", "-n", "3"]));
    assert_eq!(join(&new[1..]).unwrap().id(), key.id());
    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
        let mixed = [old[i].clone(), new[j].clone()];
        assert!(matches!(join(&mixed), Err(FragmentError::OtherSet { .. })), "{i} {j}");
    }
    let wider = cut(&["-n", "3"]);
    assert!(matches!(join(&[old[0].clone(), wider[1].clone()]), Err(FragmentError::OtherScheme { .. })));
}
