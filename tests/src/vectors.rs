//! Test vectors.

use crate::package_dir;
use serde_json::Value;
use std::path::PathBuf;

/// A sealed file and its expected result.
#[derive(Debug)]
pub struct Vector {
    /// Name of the case.
    pub name: String,
    /// Content of the sealed file.
    pub path: PathBuf,
    /// Key line to open it with.
    pub key: String,
    /// Allowed error codes; empty for success.
    pub errors: Vec<String>,
    /// Maximum length in bytes of the plaintext prefix that may be released.
    pub may_release_len: usize,
    /// SHA-256 of that prefix in hexadecimal.
    pub may_release_sha256: String,
}

/// Returns the path of a vector file.
pub fn vector_file(name: &str) -> PathBuf {
    package_dir().join("vectors").join(name)
}

/// Returns all vectors.
pub fn vectors() -> Vec<Vector> {
    let index: Value = serde_json::from_slice(&std::fs::read(vector_file("vectors.json")).unwrap()).unwrap();
    let read = |vector: &Value| {
        let text = |field: &str| vector[field].as_str().unwrap().to_owned();
        let expect = text("expect");
        Vector {
            name: text("name"),
            path: vector_file(&text("file")),
            key: text("key"),
            errors: expect.split('|').filter(|code| *code != "success").map(str::to_owned).collect(),
            may_release_len: vector["may_release_len"].as_u64().unwrap() as usize,
            may_release_sha256: text("may_release_sha256"),
        }
    };
    index["vectors"].as_array().unwrap().iter().map(read).collect()
}

/// A key and its two fragments.
pub(crate) struct Fragments {
    pub(crate) key: String,
    pub(crate) server: String,
    pub(crate) device: String,
}

/// Returns the fragments of the vectors.
pub(crate) fn fragments() -> Fragments {
    let index: Value = serde_json::from_slice(&std::fs::read(vector_file("vectors.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = &index["fragments"];
    let pair = &all["xor_2_of_2"];
    Fragments { key: text(&all["key"]), server: text(&pair[0]), device: text(&pair[1]) }
}

/// Returns the vector with this name.
pub fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

/// Returns a valid sealed file of 20000 bytes.
pub fn whole() -> Vector {
    vector("ok_s2_20000")
}
