//! URLs: which server, and whether it may be spoken to.

use crate::Error;
use loader_model::printable;
use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// Scheme, host and port of a URL. Secrets given to one origin go to no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `uri`.
    ///
    /// # Errors
    /// [`Error::Config`]: the scheme is neither http nor https, there is no
    /// host, or a user name stands before it.
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::config("a URL must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| Error::config("a URL names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::config("a URL must not hold a user name or password"));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(Error::config("a URL names no host"));
        }
        let no_port = || Error::config("a URL names a port that is none");
        let written = authority.as_str()[authority.host().len()..].trim_start_matches(':');
        let port = match written {
            "" if https => 443,
            "" => 80,
            // A sign in front is one more thing that parses.
            text if text.starts_with('+') => return Err(no_port()),
            text => text.parse().map_err(|_| no_port())?,
        };
        Ok(Self { https, host, port })
    }

    /// True for https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host as the URL writes it, IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host's IP address, where it is written as one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// True for 127.0.0.0/8, ::1 and `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host == "localhost", |ip| ip.is_loopback())
    }
}

/// The host, with the port where it is not the scheme's own: what stands in a
/// `Host` header and in messages.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        let default = if self.https { 443 } else { 80 };
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// The URL below which a service lives: `scheme://host[:port][/prefix]`, without
/// a slash at the end, without a port that the scheme implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    prefix: String,
}

impl BaseUrl {
    /// Reads a base URL; `https://` is put in front where no scheme stands, which
    /// only `localhost` and what has a dot or a port can do without.
    ///
    /// # Errors
    /// [`Error::Config`]: not a URL, or one with a user name, a query string or
    /// a fragment.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bare = !text.contains("://");
        if bare && !text.eq_ignore_ascii_case("localhost") && !text.contains(['.', ':']) {
            // Looked up and tried again, a slip of the pen would cost minutes.
            return Err(Error::config(format!("\"{}\" is not a URL: no https:// and no dot", printable(text))));
        }
        let text = if bare { format!("https://{text}") } else { text.to_owned() };
        if text.contains(['?', '#']) {
            return Err(Error::config("a base URL must not hold a query string or a fragment"));
        }
        let uri: Uri = text.parse().map_err(|_| Error::config("a base URL cannot be parsed"))?;
        Ok(Self { origin: Origin::of(&uri)?, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The server.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The URL of `path`, which begins with a slash, below this base.
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
