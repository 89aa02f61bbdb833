//! A subset of YAML for configuration: small, typed, without anchors, aliases and tags.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;
use std::fmt;

/// Maximum length of a document in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// Maximum nesting depth of sequences and mappings.
pub const MAX_DEPTH: usize = 8;

/// Reason why a document was refused. No variant quotes the document, which may contain
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Longer than [`MAX_BYTES`].
    #[error("yaml: longer than 16 KiB")]
    TooLong,
    /// Not UTF-8.
    #[error("yaml: not UTF-8")]
    NotText,
    /// An anchor, an alias or a tag on this line, counted from 1.
    #[error("yaml: line {0}: anchors, aliases and tags are not accepted")]
    Reference(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("yaml: nested deeper than 8 levels")]
    TooDeep,
    /// Not valid YAML.
    #[error("yaml: cannot be parsed")]
    Syntax,
    /// Valid YAML, but not of the expected type.
    #[error("yaml: a field is missing, unknown or of the wrong type")]
    Shape,
}

/// Deserializes a document of type `T`.
///
/// # Errors
/// [`YamlError`], whose text never quotes the document.
pub fn from_slice<T: DeserializeOwned>(document: &[u8]) -> Result<T, YamlError> {
    if document.len() > MAX_BYTES {
        return Err(YamlError::TooLong);
    }
    let text = std::str::from_utf8(document).map_err(|_| YamlError::NotText)?;
    let expected = WithoutReferences::parse(text)?;
    check_depth(&expected.0, 0)?;
    expected.check_matches(text)?;
    let value: Value = serde_yaml::from_str(text).map_err(|_| YamlError::Syntax)?;
    serde_yaml::from_value(value).map_err(|_| YamlError::Shape)
}

/// The characters that begin an anchor, an alias or a tag.
const REFERENCE_INDICATORS: [char; 3] = ['&', '*', '!'];

/// Replacement of the indicators: a letter that is no YAML indicator and does not occur in
/// a number, a boolean or null.
const PLACEHOLDER: &str = "z";

/// A document, parsed after each reference indicator was replaced by the placeholder. It has
/// no anchors, aliases and tags, so its memory is proportional to its length, however large
/// the document would be with its aliases expanded.
struct WithoutReferences(Value);

impl WithoutReferences {
    fn parse(text: &str) -> Result<Self, YamlError> {
        serde_yaml::from_str(&text.replace(REFERENCE_INDICATORS, PLACEHOLDER)).map(Self).map_err(|_| YamlError::Syntax)
    }

    /// Parses the original `text` and compares it with this document node by node. They are
    /// equal, except for the placeholders, up to the first anchor, alias or tag, and differ
    /// there. Thus the YAML parser itself finds the references, and this module needs no
    /// scanner of its own that would have to agree with it.
    ///
    /// # Errors
    /// [`YamlError::Reference`] at the first node that differs.
    fn check_matches(&self, text: &str) -> Result<(), YamlError> {
        let compared = ExpectedNode(&self.0).deserialize(serde_yaml::Deserializer::from_str(text));
        compared.map_err(|error| YamlError::Reference(error.location().map_or(1, |at| at.line())))
    }
}

/// Deserializes a node and checks that it equals this one, except for the placeholders.
struct ExpectedNode<'a>(&'a Value);

impl<'de> DeserializeSeed<'de> for ExpectedNode<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ExpectedNode<'_> {
    fn check<E: de::Error>(is_equal: bool) -> Result<(), E> {
        if is_equal { Ok(()) } else { Err(E::custom("differs")) }
    }
}

impl<'de> Visitor<'de> for ExpectedNode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an equal node")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Self::check(self.0.is_null())
    }

    /// The document is empty, or contains only comments.
    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        Self::check(self.0.is_null())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        Self::check(self.0.as_bool() == Some(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        Self::check(self.0.as_i64() == Some(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        Self::check(self.0.as_u64() == Some(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        Self::check(self.0.as_f64().is_some_and(|expected| expected.to_bits() == value.to_bits()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        let expected = self.0.as_str();
        let value = value.replace(REFERENCE_INDICATORS, PLACEHOLDER);
        Self::check(expected.is_some_and(|expected| expected == value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let expected = self.0.as_sequence().map(Vec::as_slice);
        for item in expected.unwrap_or_default() {
            Self::check(items.next_element_seed(ExpectedNode(item))?.is_some())?;
        }
        Self::check(expected.is_some() && items.next_element::<IgnoredAny>()?.is_none())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let Value::Mapping(expected) = self.0 else { return Self::check(false) };
        for (key, value) in expected {
            Self::check(pairs.next_key_seed(ExpectedNode(key))?.is_some())?;
            pairs.next_value_seed(ExpectedNode(value))?;
        }
        Self::check(pairs.next_key::<IgnoredAny>()?.is_none())
    }
}

fn check_depth(value: &Value, depth: usize) -> Result<(), YamlError> {
    if depth > MAX_DEPTH {
        return Err(YamlError::TooDeep);
    }
    match value {
        Value::Sequence(items) => items.iter().try_for_each(|item| check_depth(item, depth + 1)),
        Value::Mapping(pairs) => pairs.iter().try_for_each(|(key, item)| {
            check_depth(key, depth + 1)?;
            check_depth(item, depth + 1)
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CdnCredentials;
    use std::collections::BTreeMap;

    const CDN: &str = "host: https://cdn.test\ndownloader_access_key: AK\ndownloader_access_secret: \"s*&!\"\n";

    #[test]
    fn cdn_yaml_is_typed() {
        let cdn: CdnCredentials = from_slice(CDN.as_bytes()).unwrap();
        assert_eq!(cdn.downloader_access_secret, "s*&!");
        assert_eq!(cdn.bucket, None);
        let unknown = format!("{CDN}colour: red\n");
        assert_eq!(from_slice::<CdnCredentials>(unknown.as_bytes()).unwrap_err(), YamlError::Shape);
    }

    #[test]
    fn plain_scalars_may_contain_reference_indicators() {
        let map: BTreeMap<String, String> = from_slice(b"a: x&y*z!\nb: x & y\nc: 'it''s *'\nd: -!x # *c\n").unwrap();
        assert_eq!(map["b"], "x & y");
        assert_eq!(map["d"], "-!x");
        let json = br#"{"a":"x\\","b":"{!\",&","c":"[*"}"#;
        let map: BTreeMap<String, String> = from_slice(json).unwrap();
        assert_eq!([&map["a"], &map["b"], &map["c"]], ["x\\", "{!\",&", "[*"]);
    }

    #[test]
    fn a_document_without_content_is_an_empty_map() {
        for empty in
            ["", "\n", "---\n", "# a: &x 1\n", "\n# a\n\n  # b\n", "\u{feff}# a\n", "null\n", "---\n# a\n...\n"]
        {
            assert_eq!(from_slice(empty.as_bytes()), Ok(BTreeMap::<String, String>::new()), "{empty:?}");
        }
    }

    #[test]
    fn references_depth_and_size_are_refused() {
        type Any = serde_yaml::Value;
        for bad in [
            "a: &x 1",
            "a: 1\nb: *x",
            "a: !!int 1",
            "- !t x",
            "[&a 1, *a]",
            "&a b: c",
            "{\"a\":&x 1}",
            "{\"a\\\\\":&x 1}",
            "{\"a\" :&x 1,\"b\" :*x }",
            "{\"a\"\n  :&x 1}",
            "{[1]:&x 2}",
            "{[1] :&x 2}",
            "{\"a\" :!!str bad}",
            "{{b: 1}\t:&x 1}",
            "a: [b - \"c, &x 1, e\" ]",
            "a: 1 # c\rb: &x 1",
            "a: 1 # c\u{85}b: &x 1",
            "a: 1 # c\u{2028}b: &x 1",
            "a: 1 # c\u{2029}b: &x 1",
            "\u{feff}&x a: 1",
            "\u{feff}a: &x 1\n\u{feff}b: *x",
            "- 1\n\u{feff}- &x 1\n\u{feff}- *x",
            "--- &x [1]",
            "--- !!str 1",
            "--- *x",
            "---\t&x a",
            "%YAML 1.1\n--- &x a",
            "? &x a\n: *x",
            "- - &x 1",
            "a:\n  !!str\n  1",
            "[\"x\n\", &a 1, *a]",
            "a: |\n  \"x\nb: &x 1",
            "a: >-\n  'x\nb: !!int '1'",
            "a: ! 1",
            "a: !<tag:yaml.org,2002:str> 1",
            "a: &x\nb: ",
            "a: \"x\ny\": &x 1",
            "a: 'x\n  ': !!int 1",
            "%TAG ! tag:a,2000:\n--- !b c",
            "a: *\n",
            "a: 1\n--- *x",
        ] {
            let refused = from_slice::<Any>(bad.as_bytes());
            assert!(matches!(refused, Err(YamlError::Reference(_) | YamlError::Syntax)), "{bad}: {refused:?}");
        }
        assert_eq!(from_slice::<Any>(b"a: 1\nb:\n - x\n - [&x 1]"), Err(YamlError::Reference(4)));
        let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
        assert_eq!(from_slice::<Any>(deep.as_bytes()), Err(YamlError::TooDeep));
        assert_eq!(from_slice::<Any>(&vec![b' '; MAX_BYTES + 1]), Err(YamlError::TooLong));
        assert_eq!(from_slice::<Any>(b"\xff"), Err(YamlError::NotText));
    }

    /// The lines begin with a byte order mark, which YAML allows and which is not white space.
    #[test]
    fn an_alias_bomb_is_refused_before_it_is_expanded() {
        let mut bomb = "\u{feff}a: &a [x]\n".to_owned();
        for (name, of) in ('b'..='i').zip('a'..) {
            bomb += &format!("\u{feff}{name}: &{name} [{}]\n", vec![format!("*{of}"); 300].join(","));
        }
        assert!(bomb.len() < MAX_BYTES);
        assert_eq!(from_slice::<Value>(bomb.as_bytes()), Err(YamlError::Reference(1)));
    }

    #[test]
    fn multi_line_scalars_may_contain_reference_indicators() {
        let map: BTreeMap<String, String> =
            from_slice("a: \"x\n  &y\"\nb: |\n  it's \"*\n  !z\nc: p &q\nd: 1*000\ne: 0*10\n".as_bytes()).unwrap();
        assert_eq!([&map["a"], &map["b"]], ["x &y", "it's \"*\n!z\n"]);
        assert_eq!([&map["d"], &map["e"]], ["1*000", "0*10"]);
    }

    #[test]
    fn errors_do_not_quote_the_document() {
        let error = from_slice::<CdnCredentials>(b"host: [hunter2\nx: }").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
