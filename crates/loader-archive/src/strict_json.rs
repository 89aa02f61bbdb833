//! JSON that every reader understands in the same way.
//!
//! Go's `encoding/json`, which the engines use, matches the keys of a struct without
//! regard to case, and takes the last of several. A document in which that makes a
//! difference is refused.

use crate::Error;
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Keys of documents that are read, by the kind of the document.
pub(crate) type Keys = &'static [&'static str];

/// `manifest.json`.
pub(crate) const DOCKER_MANIFEST: Keys = &["Config", "RepoTags", "Layers", "Parent", "LayerSources"];

/// `index.json`, an OCI index, an OCI manifest, `oci-layout`.
pub(crate) const OCI_DOCUMENT: Keys = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "manifests",
    "config",
    "layers",
    "digest",
    "size",
    "platform",
    "architecture",
    "os",
    "variant",
    "annotations",
    "subject",
    "data",
    "imageLayoutVersion",
];

/// The config of an image.
pub(crate) const IMAGE_CONFIG: Keys = &["architecture", "os", "variant", "rootfs", "type", "diff_ids"];

/// Objects with keys of the publisher's choice, which Go reads as maps.
const MAPS: &[&str] = &["annotations", "Labels", "ExposedPorts", "Volumes", "Annotations", "args", "LayerSources"];

/// Parses a document.
///
/// # Errors
/// [`Error::Malformed`] if it is no JSON, or if an object contains a key twice, or
/// keys that differ by case alone, or a key that differs from one of `keys` by case.
pub(crate) fn parse<T: DeserializeOwned>(member: &str, text: &[u8], keys: Keys) -> Result<T, Error> {
    let malformed = |error| Error::malformed(member, error);
    let mut json = serde_json::Deserializer::from_slice(text);
    Strict { keys, is_map: false, hasher: &RandomState::new() }.deserialize(&mut json).map_err(malformed)?;
    json.end().map_err(malformed)?;
    serde_json::from_slice(text).map_err(malformed)
}

/// Any JSON, checked as described above.
#[derive(Clone, Copy)]
struct Strict<'a> {
    keys: Keys,
    /// True for an object that Go reads as a map: its keys are matched exactly.
    is_map: bool,
    /// Hashes the keys of an object, so that many keys take little memory. Nobody can
    /// choose keys with equal hashes.
    hasher: &'a RandomState,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let folded = if self.is_map { key.clone() } else { fold(&key) };
            if !self.is_map
                && let Some(known) = self.keys.iter().find(|known| ***known != *key && fold(known) == folded)
            {
                return Err(A::Error::custom(format_args!("the key {key:?} differs from {known:?} by case alone")));
            }
            if !seen.insert(self.hasher.hash_one(&folded)) {
                return Err(A::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            let is_map = !self.is_map && MAPS.contains(&key.as_str());
            map.next_value_seed(Self { is_map, ..self })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Self { is_map: false, ..self })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Returns the same text for all spellings that Go's reader takes for one key,
/// letters such as the Kelvin sign included.
fn fold(key: &str) -> String {
    key.to_lowercase().to_uppercase()
}

/// A list that may be `null`, as Go writes an empty one.
pub(crate) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(text: &str, keys: Keys) -> bool {
        parse::<serde::de::IgnoredAny>("x", text.as_bytes(), keys).is_ok()
    }

    #[test]
    fn keys_that_another_reader_would_match() {
        let good = r#"[{"Config":"a","RepoTags":["Layers"],"Parent":null,"x":[1,-1,0.5,true,{"mediaType":""}]}]"#;
        assert!(is_good(good, DOCKER_MANIFEST));
        for key in ["repotags", "layers", "LAYERS", "Layer\\u017f", "con\\u0066ig"] {
            assert!(!is_good(&format!("[{{\"a\":[{{\"{key}\":1}}]}}]"), DOCKER_MANIFEST), "{key}");
        }
        let config = |rest: &str| format!(r#"{{"os":"linux","rootfs":{{"diff_ids":[]}}{rest}}}"#);
        assert!(is_good(&config(r#","config":{"Labels":{"os":"a","OS":"b","RootFS":"c"}}"#), IMAGE_CONFIG));
        for rest in [
            r#","RootFS":{}"#,
            r#","OS":"x""#,
            r#","os":"linux""#,
            r#","a":1,"A":2"#,
            r#","config":{"Labels":{"a":"1","a":"2"}}"#,
            r#","config":{"Labels":{},"labels":{}}"#,
        ] {
            assert!(!is_good(&config(rest), IMAGE_CONFIG), "{rest}");
        }
        assert!(!is_good(&format!("{} x", config("")), IMAGE_CONFIG), "bytes after the document");
    }
}
