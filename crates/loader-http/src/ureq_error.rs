//! Conversion of ureq errors into [`Error`].

use crate::Error;
use crate::config::MAX_IDLE_PERIODS;
use loader_model::printable;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};
use ureq::Timeout;

/// Converts the error of a request to `host`. Drops texts of ureq that may quote the URL.
pub(crate) fn classify(error: ureq::Error, host: &str, connect: Duration, idle: Duration) -> Error {
    let host = host.to_owned();
    let protocol = |what: String| Error::Protocol { host: host.clone(), what };
    match error {
        ureq::Error::Timeout(Timeout::Resolve) => Error::NoSuchHost { host },
        ureq::Error::Timeout(Timeout::Connect) => {
            Error::TimedOut { host, what: format!("no connection within {} s", connect.as_secs_f32()) }
        }
        ureq::Error::Timeout(Timeout::RecvResponse) => Error::TimedOut {
            host,
            what: format!("no complete response header within {} s", (idle * MAX_IDLE_PERIODS).as_secs_f32()),
        },
        ureq::Error::Timeout(_) => Error::TimedOut { host, what: format!("no byte for {} s", idle.as_secs_f32()) },
        ureq::Error::HostNotFound => Error::NoSuchHost { host },
        ureq::Error::Io(error) => classify_io(&error, host),
        ureq::Error::Rustls(error) => classify_tls(&error.to_string(), host),
        ureq::Error::Tls(text) => classify_tls(text, host),
        ureq::Error::ConnectProxyFailed(text) => match proxy_status(&text) {
            // A busy proxy may succeed later.
            Some(status) if (400..500).contains(&status) && !matches!(status, 408 | 429) => {
                Error::ProxyRefused { host, status }
            }
            _ => Error::Proxy { host, cause: printable(&text) },
        },
        ureq::Error::InvalidProxyUrl => Error::config("the proxy in the environment is not a usable URL"),
        ureq::Error::ConnectionFailed => Error::Broken { host, cause: "no connection".to_owned() },
        ureq::Error::BodyStalled => Error::Broken { host, cause: "the body stalled".to_owned() },
        ureq::Error::LargeResponseHeader(..) => protocol("the response header is too long".to_owned()),
        ureq::Error::Protocol(error) => protocol(format!("not valid HTTP: {}", printable(&error.to_string()))),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => protocol("the request is not valid HTTP".to_owned()),
        _ => protocol("unexpected response".to_owned()),
    }
}

/// Returns the status in ureq's error text for a proxy: `proxy server responded 407/407`.
fn proxy_status(text: &str) -> Option<u16> {
    text.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok())
}

fn classify_io(error: &std::io::Error, host: String) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::Refused { host },
        ErrorKind::InvalidData => classify_tls(&text, host),
        ErrorKind::UnexpectedEof => Error::Broken { host, cause: "closed by the peer".to_owned() },
        _ if text.contains("lookup address") => Error::NoSuchHost { host },
        _ => {
            Error::Broken { host, cause: printable(text.split(" (os error").next().unwrap_or_default()).to_lowercase() }
        }
    }
}

fn classify_tls(text: &str, host: String) -> Error {
    let text = printable(text);
    // rustls writes an alert of the server as one word, such as CertificateRequired or UnknownCA.
    let alert = text.contains("alert") && ["Certificate", "UnknownCA"].iter().any(|word| text.contains(word));
    if text.contains("not valid yet") {
        let now = httpdate::fmt_http_date(SystemTime::now().max(SystemTime::UNIX_EPOCH));
        return Error::Certificate {
            host,
            cause: format!("certificate not valid yet according to the clock of this machine: {now}"),
        };
    }
    if alert || text.contains("certificate") {
        Error::Certificate { host, cause: text }
    } else {
        Error::Protocol { host, what: format!("tls: {text}") }
    }
}
