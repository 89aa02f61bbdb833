//! Names of images, by the grammar of the distribution project
//! (`distribution/reference`).

use std::fmt;

/// The registry of names without one.
const DEFAULT_DOMAIN: &str = "docker.io";

/// Maximum number of characters of a name without its tag.
const NAME_MAX: usize = 255;

/// Maximum number of characters of a tag.
const TAG_MAX: usize = 128;

/// A name with a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: String,
}

impl Reference {
    /// Parses a name such as `app:1.4` or `registry.example:5000/team/app`; without a
    /// tag it is `latest`.
    ///
    /// # Errors
    /// A text that says what is wrong, without the name itself.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('@') {
            return Err("a name with a digest is no tag");
        }
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
            return Err("a name of 64 hexadecimal digits looks like an id");
        }
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if is_domain_like(first) => (first, rest.to_owned()),
            _ => (DEFAULT_DOMAIN, name.to_owned()),
        };
        let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("library/{path}") } else { path };
        if !is_domain(domain) {
            return Err("its registry is no host name");
        }
        if !path.split('/').all(is_component) {
            return Err("a name has lower-case letters, digits and single separators");
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err("a name has at most 255 characters");
        }
        if !is_tag(tag) {
            return Err("a tag has letters, digits, '_', '.' and '-', and at most 128 of them");
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.to_owned() })
    }

    /// Returns the tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the name without the tag, as people write it.
    pub fn repository(&self) -> String {
        let familiar = self.to_string();
        familiar[..familiar.len() - self.tag.len() - 1].to_owned()
    }

    /// Returns the name with registry, path and tag.
    pub fn canonical(&self) -> String {
        format!("{}/{}:{}", self.domain, self.path, self.tag)
    }
}

impl fmt::Display for Reference {
    /// Writes the name as people and engines do: without `docker.io/` and `library/`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain != DEFAULT_DOMAIN {
            return write!(out, "{}/{}:{}", self.domain, self.path, self.tag);
        }
        let short = self.path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(&self.path);
        // Without the registry its first part must not look like one.
        let is_ambiguous = short.split_once('/').is_some_and(|(first, _)| is_domain_like(first));
        let prefix = if is_ambiguous { "docker.io/" } else { "" };
        write!(out, "{prefix}{short}:{}", self.tag)
    }
}

/// Returns true for the first part of a name if it is a registry.
fn is_domain_like(first: &str) -> bool {
    // Newer engines take a first part with upper-case letters for a registry, older ones
    // refuse it.
    first.contains(['.', ':']) || first == "localhost"
}

fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let is_address = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// One part of a path: lower-case letters and digits with one `.`, one or two `_`, or
/// any number of `-` between them.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= TAG_MAX
        && bytes.next().is_some_and(is_word)
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_shortened() {
        for (text, canonical, familiar) in [
            ("app", "docker.io/library/app:latest", "app:latest"),
            ("app:1.4", "docker.io/library/app:1.4", "app:1.4"),
            ("docker.io/library/app:1.4", "docker.io/library/app:1.4", "app:1.4"),
            ("index.docker.io/team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("team/sub/app", "docker.io/team/sub/app:latest", "team/sub/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("127.0.0.1:5000/team/app", "127.0.0.1:5000/team/app:latest", "127.0.0.1:5000/team/app:latest"),
            ("[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"),
            ("a__b/c--d.e_f:T_1.x-y", "docker.io/a__b/c--d.e_f:T_1.x-y", "a__b/c--d.e_f:T_1.x-y"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.canonical().as_str(), reference.to_string().as_str()), (canonical, familiar));
            assert_eq!(Reference::parse(familiar).unwrap(), reference);
        }
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("{}:x", "a".repeat(300));
        let long_tag = format!("a:{}", "x".repeat(129));
        for text in [
            "",
            ":",
            "app:",
            ":1",
            "App:1",
            "App/a:1",
            "team/App:1",
            "a//b",
            "/a",
            "a/",
            "a:b:c",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "_a",
            "a:-x",
            "a:.x",
            "a b",
            "a:1 ",
            "a\n",
            "a@sha256:00",
            "é",
            "a:é",
            "host:port/a",
            "-x.y/a",
            &long,
            &long_tag,
            &"0".repeat(64),
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
