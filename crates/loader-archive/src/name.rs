//! Names: of members, of digests, of images.

use crate::Error;

/// A member's name without `./`, leading, double and trailing slashes.
///
/// # Errors
/// [`Error::Unsupported`] where it climbs with `..`, as no writer of archives
/// does it.
pub(crate) fn clean(name: &str) -> Result<String, Error> {
    let mut clean = String::with_capacity(name.len());
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(Error::Unsupported(format!("{name}: a name with .. in it")));
        }
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(part);
    }
    Ok(clean)
}

/// Where a symbolic link at `link` points to, from the root of the archive;
/// `None` where it leaves the archive.
pub(crate) fn follow(link: &str, target: &str) -> Option<String> {
    let folder = if target.starts_with('/') { "" } else { link.rsplit_once('/').map_or("", |(folder, _)| folder) };
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The 64 digits of `sha256:<digits>`.
pub(crate) fn digits(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|digits| is_sha256(digits))
}

/// True for 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digits that promise the SHA-256 of the member's own bytes:
/// `blobs/sha256/<digits>`, and for a config `<digits>.json` or
/// `sha256:<digits>`.
pub(crate) fn promised(member: &str) -> Option<&str> {
    let blob = member.strip_prefix("blobs/sha256/");
    let config = || member.strip_suffix(".json").or_else(|| member.strip_prefix("sha256:"));
    blob.or_else(config).filter(|digits| is_sha256(digits))
}

/// An image's name as people write it: without `docker.io/` and `library/`, with
/// `:latest` where there is no tag. With `completes_locally` it goes without
/// `localhost/` too, with which podman completes a short name; to Docker
/// `localhost/app` is another image than `app`.
pub fn familiar(name: &str, completes_locally: bool) -> String {
    let short = name.strip_prefix("index.docker.io/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(name);
    let short = match short.strip_prefix("library/") {
        Some(rest) if !rest.contains('/') => rest,
        _ => short,
    };
    let short = short.strip_prefix("localhost/").filter(|_| completes_locally).unwrap_or(short);
    let tagged = short.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if tagged || short.contains('@') { short.to_owned() } else { format!("{short}:latest") }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_links_followed() {
        assert_eq!(clean("./a//b/").unwrap(), "a/b");
        assert!(clean("a/../manifest.json").is_err());
        assert_eq!(follow("a/layer.tar", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(follow("x", "../y"), None);
        assert_eq!(familiar("docker.io/library/app:1.4", false), "app:1.4");
        assert_eq!(familiar("localhost/app", true), "app:latest");
        assert_eq!(familiar("localhost/app", false), "localhost/app:latest");
        assert_eq!(familiar("127.0.0.1:5000/team/app", false), "127.0.0.1:5000/team/app:latest");
    }

    #[test]
    fn digests_in_names() {
        let digits = "a".repeat(64);
        assert_eq!(promised(&format!("blobs/sha256/{digits}")), Some(&digits[..]));
        assert_eq!(promised(&format!("{digits}.json")), Some(&digits[..]));
        assert_eq!(promised(&format!("{digits}/json")), None);
        assert_eq!(promised("manifest.json"), None);
    }
}
