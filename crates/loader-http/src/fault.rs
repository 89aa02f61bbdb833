//! From what ureq says to what a caller would do about it.

use crate::Error;
use crate::body::SLOW_WAITS;
use loader_model::printable;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};
use ureq::Timeout;

/// The class of a failed exchange with `host`. Texts of ureq that may quote the
/// URL are not passed on.
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
            what: format!("no whole head of an answer in {} s", (idle * SLOW_WAITS).as_secs_f32()),
        },
        ureq::Error::Timeout(_) => Error::TimedOut { host, what: format!("no byte for {} s", idle.as_secs_f32()) },
        ureq::Error::HostNotFound => Error::NoSuchHost { host },
        ureq::Error::Io(error) => classify_io(&error, host),
        ureq::Error::Rustls(error) => tls(&error.to_string(), host),
        ureq::Error::Tls(text) => tls(text, host),
        ureq::Error::ConnectProxyFailed(text) => match proxy_status(&text) {
            // A proxy that is busy answers otherwise a little later.
            Some(status) if (400..500).contains(&status) && !matches!(status, 408 | 429) => {
                Error::ProxyRefused { host, status }
            }
            _ => Error::Proxy { host, cause: printable(&text) },
        },
        ureq::Error::InvalidProxyUrl => Error::config("the proxy in the environment is no usable URL"),
        ureq::Error::ConnectionFailed => Error::Broken { host, cause: "no connection".to_owned() },
        ureq::Error::BodyStalled => Error::Broken { host, cause: "the body stalled".to_owned() },
        ureq::Error::LargeResponseHeader(..) => protocol("the header of the answer is too long".to_owned()),
        ureq::Error::Protocol(error) => protocol(format!("not valid HTTP: {}", printable(&error.to_string()))),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => protocol("the request cannot be put into HTTP".to_owned()),
        _ => protocol("unexpected answer".to_owned()),
    }
}

/// The status in what ureq says of a proxy: `proxy server responded 407/407`.
fn proxy_status(text: &str) -> Option<u16> {
    text.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok())
}

fn classify_io(error: &std::io::Error, host: String) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::Refused { host },
        ErrorKind::InvalidData => tls(&text, host),
        ErrorKind::UnexpectedEof => Error::Broken { host, cause: "closed by the other side".to_owned() },
        _ if text.contains("lookup address") => Error::NoSuchHost { host },
        _ => {
            Error::Broken { host, cause: printable(text.split(" (os error").next().unwrap_or_default()).to_lowercase() }
        }
    }
}

fn tls(text: &str, host: String) -> Error {
    let text = printable(text);
    // An alert of the server is one word, such as CertificateRequired or UnknownCA.
    let alert = text.contains("alert") && ["Certificate", "UnknownCA"].iter().any(|word| text.contains(word));
    if text.contains("not valid yet") {
        let now = httpdate::fmt_http_date(SystemTime::now().max(SystemTime::UNIX_EPOCH));
        return Error::Certificate {
            host,
            cause: format!("certificate not valid yet, by the clock of this machine: {now}"),
        };
    }
    if alert || text.contains("certificate") {
        Error::Certificate { host, cause: text }
    } else {
        Error::Protocol { host, what: format!("tls: {text}") }
    }
}
