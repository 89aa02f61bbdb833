//! Resource names: `folder/name`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of a resource: one to eight components of `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`
/// joined by `/`. Such a name cannot refer to anything outside its directory or bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// Reason why a text is not a resource name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceNameError {
    /// A component is empty, too long, or has a character outside the allowed set.
    #[error(
        "invalid name component \"{0}\": expected 1 to 128 letters, digits and . _ - that begin with a letter or digit"
    )]
    Component(String),
    /// More than eight components.
    #[error("name has {0} components; at most 8 are allowed")]
    TooDeep(usize),
}

impl ResourceName {
    /// Maximum number of components.
    pub const MAX_DEPTH: usize = 8;

    /// Returns the whole name, `folder/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns everything before the last `/`, or an empty string if there is none.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Returns the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Returns the components from the first folder to the file name.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the key of the big part in the CDN, which is also its path below the cache
    /// directory: `{folder}/{name}.big`.
    pub fn big_key(&self) -> String {
        format!("{}.big", self.0)
    }
}

impl FromStr for ResourceName {
    type Err = ResourceNameError;

    fn from_str(text: &str) -> Result<Self, ResourceNameError> {
        let depth = text.split('/').count();
        if depth > Self::MAX_DEPTH {
            return Err(ResourceNameError::TooDeep(depth));
        }
        match text.split('/').find(|component| !is_component(component)) {
            Some(bad) => Err(ResourceNameError::Component(crate::printable(bad))),
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
    type Error = ResourceNameError;

    fn try_from(text: String) -> Result<Self, ResourceNameError> {
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
    fn a_name_has_a_folder_a_file_name_and_a_key() {
        let name: ResourceName = "models/v2/yolo.onnx".parse().unwrap();
        assert_eq!((name.folder(), name.file_name()), ("models/v2", "yolo.onnx"));
        assert_eq!(name.big_key(), "models/v2/yolo.onnx.big");
        assert_eq!("cdn.yaml".parse::<ResourceName>().unwrap().folder(), "");
    }

    #[test]
    fn names_with_dot_dot_or_hidden_files_are_refused() {
        let deep = ["a"; 9].join("/");
        let long = "a".repeat(129);
        for bad in ["", "/", "a/", "/a", "..", "a/../b", ".a", "a//b", "a b", "a\0", "ä", "-a", &deep, &long] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }
}
