//! Comparison with shamir-mnemonic, an independent implementation of the field and the
//! interpolation. Needs its Python module: `AZ_TEST_PYTHON` is the interpreter,
//! `AZ_SKIP_PYTHON=1` skips the tests.

use loader_seal::fragment::{Scheme, join, split};
use loader_seal::{Fragment, Key};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Thresholds and numbers of fragments, from the smallest to the largest.
const SIZES: [(u8, u8); 8] = [(2, 2), (2, 3), (3, 5), (5, 5), (7, 20), (16, 16), (2, 255), (255, 255)];

/// Offset of the share in a fragment.
const SHARE_OFFSET: usize = 29;

/// Returns the results of tests/shamir.py, or `None` if it is skipped.
fn run_python(cases: &[Value]) -> Option<Vec<Value>> {
    if std::env::var("AZ_SKIP_PYTHON").is_ok_and(|value| value == "1") {
        return None;
    }
    let python = std::env::var_os("AZ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/shamir.py");
    let mut command = Command::new(&python);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    // If the module is missing, the process exits before it reads.
    let _ = child.stdin.take().unwrap().write_all(Value::from(cases).to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}\nshamir-mnemonic is missing or broken: `{} -m pip install -r tests/requirements.txt`, \
         or name another interpreter with AZ_TEST_PYTHON, or set AZ_SKIP_PYTHON=1",
        String::from_utf8_lossy(&output.stderr),
        python.display()
    );
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), cases.len());
    Some(answers)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Chooses `k` of `n` fragments, pseudorandomly by `seed`.
fn choose(k: u8, n: u8, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..usize::from(n)).collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    all.sort_by_cached_key(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    });
    all.truncate(usize::from(k));
    all
}

#[test]
fn shamir_mnemonic_joins_fragments_of_this_crate() {
    let (mut cases, mut keys) = (Vec::new(), Vec::new());
    for (k, n) in SIZES {
        for seed in 0..8 {
            let key = Key::generate().unwrap();
            let fragments = split(&key, Scheme::Shamir, k, n).unwrap();
            let picked = choose(k, n, seed).into_iter().map(|i| &fragments[i]);
            let shares: Vec<_> =
                picked.map(|fragment| json!([fragment.index(), hex(&fragment.to_bytes()[SHARE_OFFSET..])])).collect();
            cases.push(json!({ "join": shares }));
            keys.push(hex(key.expose()));
        }
    }
    if let Some(answers) = run_python(&cases) {
        assert_eq!(answers, keys);
    }
}

#[test]
fn this_crate_joins_fragments_of_shamir_mnemonic() {
    let (mut cases, mut expected) = (Vec::new(), Vec::new());
    for (k, n) in SIZES {
        let key = Key::generate().unwrap();
        let indices: Vec<u8> = (1..=n).collect();
        cases.push(json!({ "cut": hex(key.expose()), "k": k, "indices": indices }));
        expected.push((k, n, key));
    }
    let Some(answers) = run_python(&cases) else { return };
    for ((k, n, key), answer) in expected.into_iter().zip(answers) {
        let fragment = |(index, share): (u8, &Value)| {
            let head = [1, 2, k, n, index];
            let bytes = [&head, &[5; 8][..], key.id().as_bytes(), &unhex(share.as_str().unwrap())].concat();
            Fragment::from_bytes(bytes[..].try_into().unwrap()).unwrap()
        };
        let fragments: Vec<_> = (1..=n).zip(answer.as_array().unwrap()).map(fragment).collect();
        for seed in 0..8 {
            let picked: Vec<_> = choose(k, n, seed).into_iter().map(|i| fragments[i].clone()).collect();
            assert_eq!(join(&picked).unwrap().expose(), key.expose(), "{k} of {n}");
        }
        assert!(join(&fragments).is_ok(), "{k} of {n}: the fragments are not consistent");
    }
}
