//! The test kit, run with the library: each case opens, or is refused with its code, and
//! releases exactly its prefix, with one thread and with several.

use crate::case::Case;
use loader_model::Coded;
use loader_seal::device::{self, Binding, SealedKind};
use loader_seal::fragment::{Fragment, join};
use loader_seal::{Error, Header, Key};

fn open(sealed: &[u8], key: &str, threads: usize, released: &mut Vec<u8>) -> Result<(), Error> {
    let keys = [Key::parse(key)?];
    let mut rest = sealed;
    Header::read(&mut rest)?.unlock(&keys)?.open(&mut rest, released, threads).map(drop)
}

fn open_device(case: &Case) -> Result<Vec<u8>, Error> {
    let bytes = |field: &str| case.hex(field).unwrap();
    let secret: Option<[u8; 32]> = case.hex("secret").map(|secret| secret.try_into().unwrap());
    let binding = Binding {
        user: bytes("user").try_into().unwrap(),
        password: case.field("password").unwrap(),
        hardware: bytes("hardware").try_into().unwrap(),
        secret: secret.as_ref(),
    };
    device::open(&case.bytes, SealedKind::Fragment, &binding).map(|opened| opened.to_vec())
}

fn join_all(case: &Case) -> Result<Vec<u8>, Error> {
    let mut fragments = Fragment::parse_all(&String::from_utf8_lossy(&case.bytes))?;
    for beside in case.fields("beside") {
        fragments.push(Fragment::parse(beside)?);
    }
    Ok([join(&fragments)?.to_text().as_bytes(), b"\n"].concat())
}

/// Checks code and released bytes of `case`. `no_input` is a code of the filters, for which
/// the library returns `malformed`.
fn check(case: &Case, outcome: Result<(), Error>, released: &[u8]) {
    let code = outcome.err().map_or("success", |error| error.code().as_str());
    let expected = case.field("expect").unwrap();
    assert!(code == expected || (expected == "no_input" && code == "malformed"), "{}: {code}", case.name);
    assert!(case.may_release(released), "{}: released {} bytes", case.name, released.len());
}

#[test]
fn every_case_of_the_kit_has_its_expected_outcome() {
    let cases = crate::case::all();
    assert!(cases.len() >= 450, "only {} cases", cases.len());
    // Options and publishers are of the filters.
    let is_of_library = |case: &&Case| case.field("options").is_none() && case.field("publisher").is_none();
    for case in cases.iter().filter(is_of_library) {
        match case.field("kind").unwrap() {
            "sealed" => {
                for threads in [1, 3] {
                    let mut released = Vec::new();
                    let outcome = open(&case.bytes, case.field("key").unwrap(), threads, &mut released);
                    check(case, outcome, &released);
                }
            }
            "key" if case.bytes.len() <= 65536 => {
                let sealed = cases.iter().find(|other| Some(&*other.name) == case.field("opens")).unwrap();
                let mut released = Vec::new();
                let text = String::from_utf8_lossy(&case.bytes);
                check(case, open(&sealed.bytes, &text, 1, &mut released), &released);
            }
            // Packed content is not decoded here: tests/kit/run tests it with az-decrypt.
            "key" | "packed" => {}
            kind => {
                let outcome = if kind == "device" { open_device(case) } else { join_all(case) };
                let released = outcome.as_ref().map_or(&[][..], Vec::as_slice).to_vec();
                check(case, outcome.map(drop), &released);
            }
        }
    }
}
