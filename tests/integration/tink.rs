//! Compatibility with Google Tink, an independent implementation of the stream: Tink
//! decrypts the output of az-encrypt, and az-decrypt the output of Tink, in both suites.
//! `AZ_TINK_CASES` is the total number of cases. `AZ_TINK_LARGE` is the length in bytes of
//! an additional case for each direction and suite.

use loader_seal::Key;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::{Random, filter, hex, package_dir, run};

/// Default number of cases in both directions together.
const CASES: usize = 500;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

struct Case {
    name: String,
    key: Key,
    suite: u8,
    seg_log2: u8,
    plain: PathBuf,
    sealed: PathBuf,
    /// Odd cases use a pipe as input, so that the header does not contain the length.
    known_length: bool,
}

/// Returns the cases of one direction: for each suite all segment boundaries and random
/// sizes, then the large cases.
fn cases(dir: &Path, seed: u64) -> Vec<Case> {
    let mut random = Random(seed);
    let (count, large) = (number("AZ_TINK_CASES", CASES) / 2, number("AZ_TINK_LARGE", 0));
    let total = if large > 0 { count + 2 } else { count };
    let mut cases = Vec::with_capacity(total);
    for i in 0..total {
        let suite = 1 + (i % 2) as u8;
        let tag = if suite == 1 { 32 } else { 16 };
        let seg_log2 = if i % 10 < 8 && i < count { 12 } else { 20 };
        let segment = 1 << seg_log2;
        let (first, next) = (segment - 40 - tag, segment - tag);
        let borders = [0, 1, first - 1, first, first + 1, first + next - 1, first + next, first + next + 1];
        let len = match i / 20 {
            _ if i >= count => large,
            group if group < borders.len() => borders[group],
            _ if i + 4 >= count => 3 << 20,
            _ => random.below(40_000),
        };
        let plain = dir.join(format!("{i}.plain"));
        fs::write(&plain, random.bytes(len)).unwrap();
        let key = Key::from_bytes(random.bytes(32).try_into().unwrap());
        let name = format!("case {i}: suite {suite}, segments of 2^{seg_log2}, {len} bytes");
        let sealed = dir.join(format!("{i}.azs"));
        cases.push(Case { name, key, suite, seg_log2, plain, sealed, known_length: i % 4 < 2 });
    }
    cases
}

/// Returns true if the Tink tests are to be skipped.
fn skipped() -> bool {
    let skip = std::env::var("AZ_SKIP_TINK").is_ok_and(|value| value == "1");
    if skip {
        tests::say("skipped: AZ_SKIP_TINK=1, nothing was compared with Tink");
    }
    skip
}

/// Runs with_tink.py with `cases` and returns its output.
fn tink(verb: &str, dir: &Path, cases: &[Case]) -> String {
    let describe = |(i, case): (usize, &Case)| -> Value {
        json!({
            "name": case.name, "plain": case.plain, "sealed": case.sealed, "key": hex(case.key.expose()),
            "suite": case.suite, "seg_log2": case.seg_log2, "known_length": case.known_length,
            "other_slots": i % 3, "comment": if i % 5 == 0 { "x".repeat(i % 1000) } else { String::new() },
        })
    };
    let manifest = dir.join("manifest.json");
    let list: Vec<_> = cases.iter().enumerate().map(describe).collect();
    fs::write(&manifest, Value::from(list).to_string()).unwrap();
    let python = std::env::var_os("AZ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let script = package_dir().join("with_tink.py");
    let output = Command::new(&python).arg(script).arg(verb).arg(&manifest).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}\nTink is missing or broken: `{} -m pip install -r tests/requirements.txt`, \
         or name another interpreter with AZ_TEST_PYTHON, or set AZ_SKIP_TINK=1",
        python.display()
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Creates a file with the line of `key` and mode 0600.
fn key_file(dir: &Path, key: &Key) -> PathBuf {
    let path = dir.join("key");
    let _ = fs::remove_file(&path);
    let mut file = tempfile::NamedTempFile::new_in(dir).unwrap();
    writeln!(file, "{}", *key.to_text()).unwrap();
    file.persist(&path).unwrap();
    path
}

fn encrypt(dir: &Path, case: &Case) {
    let mut command = filter("az-encrypt");
    let suite = if case.suite == 1 { "ctr-hmac" } else { "gcm" };
    let segment = format!("{}K", 1_u32 << (case.seg_log2 - 10));
    command.args(["--raw", "--suite", suite, "--segment", &segment, "--key-file"]).arg(key_file(dir, &case.key));
    command.arg("-o").arg(&case.sealed);
    let finished = if case.known_length {
        command.arg(&case.plain);
        run(command, b"")
    } else {
        run(command, &fs::read(&case.plain).unwrap())
    };
    assert_eq!(finished.status, 0, "{}: {}", case.name, finished.stderr);
}

#[test]
fn tink_opens_what_az_encrypt_seals() {
    if skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let cases = cases(dir.path(), 1);
    cases.iter().for_each(|case| encrypt(dir.path(), case));
    assert_eq!(tink("open", dir.path(), &cases), format!("ok {}\n", cases.len()));
}

#[test]
fn az_decrypt_opens_what_tink_seals() {
    if skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let cases = cases(dir.path(), 2);
    assert_eq!(tink("seal", dir.path(), &cases), format!("ok {}\n", cases.len()));
    for case in &cases {
        let mut command = filter("az-decrypt");
        command.args(["--key-file", "-"]).arg(&case.sealed);
        let opened = run(command, case.key.to_text().as_bytes());
        assert_eq!(opened.status, 0, "{}: {}", case.name, opened.stderr);
        assert!(opened.stdout == fs::read(&case.plain).unwrap(), "{}: other bytes", case.name);
    }
}
