//! URLs and their origins.

use crate::Error;
use loader_model::printable;
use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// Scheme, host and port of a URL. Secrets of one origin are never sent to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of `uri`.
    ///
    /// # Errors
    /// [`Error::Config`] if the scheme is neither http nor https, there is no host, or
    /// the URL contains a user name.
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::config("a URL must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| Error::config("a URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::config("a URL must not contain a user name or password"));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(Error::config("a URL has no host"));
        }
        let invalid_port = || Error::config("a URL has an invalid port");
        let written = authority.as_str()[authority.host().len()..].trim_start_matches(':');
        let port = match written {
            "" if https => 443,
            "" => 80,
            // Rust parses +443 as a number.
            text if text.starts_with('+') => return Err(invalid_port()),
            text => text.parse().map_err(|_| invalid_port())?,
        };
        Ok(Self { https, host, port })
    }

    /// Returns true for https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Returns the host in lower case, IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the IP address if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Returns true for 127.0.0.0/8, ::1 and `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host == "localhost", |ip| ip.is_loopback())
    }
}

/// Writes the host, and the port unless it is the default of the scheme, as in a
/// `Host` header.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        let default = if self.https { 443 } else { 80 };
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Base URL of a service: `scheme://host[:port][/prefix]`, without a trailing slash
/// and without the default port of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    prefix: String,
}

impl BaseUrl {
    /// Parses a base URL. `https://` is the default scheme for `localhost` and for
    /// hosts with a dot or a port.
    ///
    /// # Errors
    /// [`Error::Config`] if the text is not a URL, or contains a user name, a query
    /// string or a fragment.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bare = !text.contains("://");
        if bare && !text.eq_ignore_ascii_case("localhost") && !text.contains(['.', ':']) {
            // Resolving a mistyped word, with retries, would take minutes.
            return Err(Error::config(format!("\"{}\" is not a URL: no https:// and no dot", printable(text))));
        }
        let text = if bare { format!("https://{text}") } else { text.to_owned() };
        if text.contains(['?', '#']) {
            return Err(Error::config("a base URL must not contain a query string or a fragment"));
        }
        let uri: Uri = text.parse().map_err(|_| Error::config("a base URL cannot be parsed"))?;
        Ok(Self { origin: Origin::of(&uri)?, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Returns the origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the URL of `path` below this base. `path` begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_normalised() {
        for (text, normal) in [
            ("cdn.test", "https://cdn.test"),
            ("https://CDN.test:443/", "https://cdn.test"),
            ("http://cdn.test:80/s3/", "http://cdn.test/s3"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("https://cdn.test:/", "https://cdn.test"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().to_string(), normal);
        }
        for bad in [
            "",
            "ftp://x",
            "https://u:p@x",
            "https://x?a=b",
            "https://",
            "https://x y",
            "nonsense",
            "nonsense/api",
            "https://x.test:84430",
            "http://127.0.0.1:44e3",
            "https://[::1]:+443",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_by_address_or_by_name() {
        for (host, loopback) in [
            ("127.9.9.9", true),
            ("[::1]", true),
            ("LOCALHOST", true),
            ("localhost.evil.test", false),
            ("127.0.0.1.evil.test", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(BaseUrl::parse(host).unwrap().origin().is_loopback(), loopback, "{host}");
        }
    }
}
