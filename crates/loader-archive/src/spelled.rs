//! Keys of JSON that mean the same to one reader and not to another: engines
//! take `repotags` for `RepoTags`, and the last of several counts.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Every key that is read of a document that names images.
const KEYS: [&str; 8] =
    ["Config", "RepoTags", "Layers", "manifests", "digest", "size", "annotations", "imageLayoutVersion"];

/// Any JSON in which no key differs from one that is read by the case of its
/// letters alone.
#[derive(Debug)]
pub(crate) struct Spelled;

impl<'de> Deserialize<'de> for Spelled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Spelled;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spelled, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if KEYS.iter().any(|known| *known != key && fold(known) == fold(&key)) {
                return Err(A::Error::custom(format_args!("the key {key:?}, which is not quite one that is known")));
            }
            map.next_value::<Spelled>()?;
        }
        Ok(Spelled)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Spelled, A::Error> {
        while list.next_element::<Spelled>()?.is_some() {}
        Ok(Spelled)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Spelled, E> {
        Ok(Spelled)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Spelled, E> {
        Ok(Spelled)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Spelled, E> {
        Ok(Spelled)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Spelled, E> {
        Ok(Spelled)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Spelled, E> {
        Ok(Spelled)
    }

    fn visit_unit<E: Error>(self) -> Result<Spelled, E> {
        Ok(Spelled)
    }
}

/// The same for all spellings of a key, those with letters such as the Kelvin
/// sign included.
fn fold(key: &str) -> String {
    key.to_lowercase().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_only_look_like_known_ones() {
        let is_good = |text: &str| serde_json::from_str::<Spelled>(text).is_ok();
        assert!(is_good(
            r#"[{"Config":"a","RepoTags":["Layers"],"Parent":null,"x":[1,-1,0.5,true,{"mediaType":""}]}]"#
        ));
        for key in ["repotags", "layers", "Manifests", "DIGEST", "Layer\\u017f", "con\\u0066ig"] {
            assert!(!is_good(&format!("[{{\"a\":[{{\"{key}\":1}}]}}]")), "{key}");
        }
    }
}
