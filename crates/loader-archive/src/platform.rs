//! The platform that an image is for.

use serde::Deserialize;
use std::fmt;

/// Operating system, architecture and variant, in the words of Go and the OCI image
/// specification. An empty text is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Platform {
    /// Operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Architecture, such as `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the architecture, such as `v7`.
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// Parses `os/architecture` or `os/architecture/variant`; `x86_64` and `aarch64` are
    /// other names of `amd64` and `arm64`.
    ///
    /// # Errors
    /// A text that says what is expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64";
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_word) {
            return Err(EXPECTED);
        }
        let variant = parts.get(2).copied().unwrap_or_default();
        Ok(Self::new(parts[0], parts[1], variant))
    }

    /// Creates a platform; an architecture gets its usual name.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf" | "armv7l", "") => ("arm", "v7"),
            ("armel" | "armv6l", "") => ("arm", "v6"),
            ("i386" | "i686", variant) => ("386", variant),
            other => other,
        };
        // Every arm64 processor has at least v8.
        let variant = if (architecture, variant) == ("arm64", "v8") { "" } else { variant };
        Self { os: os.to_lowercase(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// Returns the platform with the usual names.
    #[must_use]
    pub fn normalized(&self) -> Self {
        Self::new(&self.os, &self.architecture, &self.variant)
    }

    /// Returns true if nothing is known of it.
    pub fn is_unknown(&self) -> bool {
        let is_unknown = |part: &str| part.is_empty() || part == "unknown";
        is_unknown(&self.os) && is_unknown(&self.architecture)
    }

    /// Returns how well an image for `self` fits a machine of `machine`: `None` if it
    /// does not run there, otherwise a number that is larger for a better fit.
    pub fn fit(&self, machine: &Self) -> Option<u32> {
        let (image, machine) = (self.normalized(), machine.normalized());
        if image.os != machine.os || image.architecture != machine.architecture {
            return None;
        }
        // An arm machine whose variant is not known is taken for v7, as engines do.
        let default = if machine.architecture == "arm" { 7 } else { 0 };
        let number = |variant: &str, default| match variant {
            "" => Some(default),
            variant => variant.strip_prefix('v')?.parse::<u32>().ok(),
        };
        let limit = number(&machine.variant, default)?;
        match number(&image.variant, 0) {
            Some(variant) if variant <= limit => Some(variant + 1),
            _ if image.variant == machine.variant => Some(u32::MAX),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(out, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(image: &str, machine: &str) -> Option<u32> {
        Platform::parse(image).unwrap().fit(&Platform::parse(machine).unwrap())
    }

    #[test]
    fn images_fit_machines() {
        assert!(fit("linux/amd64", "linux/x86_64").is_some() && fit("linux/arm64/v8", "linux/aarch64").is_some());
        assert!(fit("linux/arm64", "linux/amd64").is_none() && fit("windows/amd64", "linux/amd64").is_none());
        assert!(fit("linux/arm/v7", "linux/arm") > fit("linux/arm/v6", "linux/arm"));
        assert!(fit("linux/arm/v7", "linux/arm/v6").is_none() && fit("linux/arm/v6", "linux/arm/v6").is_some());
        assert!(fit("linux/amd64/v3", "linux/amd64").is_none() && fit("linux/amd64/v3", "linux/amd64/v3").is_some());
        for text in ["linux", "linux/", "/arm64", "a/b/c/d", "linux/arm 64"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
        assert_eq!(Platform::parse("Linux/armv7l").unwrap().to_string(), "linux/arm/v7");
    }
}
