//! The name of a resource: `folder/name`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A resource's name: one to eight components of `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`
/// joined by `/`. Such a name cannot climb out of a folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// Why a text is not a resource name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A component is empty, too long, or has a character outside the allowed set.
    #[error(
        "name component \"{0}\": one is made of 1 to 128 letters, digits and . _ - and begins with a letter or digit"
    )]
    Component(String),
    /// More than eight components.
    #[error("name has {0} components; at most 8 are allowed")]
    TooDeep(usize),
}

impl ResourceName {
    /// Most components a name may have.
    pub const MAX_DEPTH: usize = 8;

    /// The whole name, `folder/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything before the last `/`; empty where there is none.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The components from the first folder to the file name.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Key of the big part in the CDN and below the cache: `{folder}/{name}.big`.
    pub fn big_key(&self) -> String {
        format!("{}.big", self.0)
    }
}

impl FromStr for ResourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let depth = text.split('/').count();
        if depth > Self::MAX_DEPTH {
            return Err(NameError::TooDeep(depth));
        }
        match text.split('/').find(|component| !is_component(component)) {
            Some(bad) => Err(NameError::Component(crate::printable(bad))),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl TryFrom<String> for ResourceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> Self {
        name.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_folder_file_and_key() {
        let name: ResourceName = "models/v2/yolo.onnx".parse().unwrap();
        assert_eq!((name.folder(), name.file_name()), ("models/v2", "yolo.onnx"));
        assert_eq!(name.big_key(), "models/v2/yolo.onnx.big");
        assert_eq!("cdn.yaml".parse::<ResourceName>().unwrap().folder(), "");
    }

    #[test]
    fn names_that_climb_or_hide_are_refused() {
        let deep = ["a"; 9].join("/");
        let long = "a".repeat(129);
        for bad in ["", "/", "a/", "/a", "..", "a/../b", ".a", "a//b", "a b", "a\0", "ä", "-a", &deep, &long] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }
}
