//! Case files of the test kit: a header of text, an empty line, the bytes.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Parsed case file.
pub(crate) struct Case {
    pub(crate) name: String,
    header: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    /// Returns all values of a field, in order.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.header.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a field.
    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.fields(name).next()
    }

    /// Returns the bytes of a hexadecimal field.
    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn hex(&self, name: &str) -> Option<Vec<u8>> {
        let digits = self.field(name)?;
        let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    /// Returns true if `released` is exactly the plaintext that the case releases.
    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn may_release(&self, released: &[u8]) -> bool {
        let digest: String = Sha256::digest(released).iter().map(|byte| format!("{byte:02x}")).collect();
        self.field("released") == Some(&format!("{} {digest}", released.len()))
    }
}

/// Returns all cases of the kit, sorted by name.
pub(crate) fn all() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kit/cases");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| parse(path)).collect()
}

fn parse(path: &Path) -> Case {
    let whole = fs::read(path).unwrap();
    let end = whole.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let text = str::from_utf8(&whole[..end]).unwrap();
    let fields = text.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let header = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let case = Case { name, header, bytes: whole[end + 2..].to_vec() };
    assert_eq!(case.field("bytes"), Some(&*case.bytes.len().to_string()), "{}", case.name);
    case
}
