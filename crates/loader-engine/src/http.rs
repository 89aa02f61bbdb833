//! The subset of HTTP/1.1 (RFC 9112) over a unix socket that an engine's API needs: one
//! request for each connection, bounded heads, and a request body that can stay
//! unfinished, so that the engine does not commit.

use crate::body::{Body, Framing};
use crate::{Error, Host};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Maximum length of the head of a response in bytes.
const HEAD_MAX: u64 = 32 * 1024;

/// The status and the body of a response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body<BufReader<UnixStream>>,
}

/// Connects; `timeout` applies to each single read and write.
pub(crate) fn connect(host: &Host, timeout: Duration) -> Result<UnixStream, Error> {
    let socket = host.socket().display().to_string();
    let stream = UnixStream::connect(host.socket()).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => Error::NotPermitted { socket: socket.clone() },
        _ => Error::NotThere { socket: socket.clone(), source },
    })?;
    let set = stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout)));
    set.map_err(|source| Error::NotThere { socket, source })?;
    Ok(stream)
}

/// Sends a request with a JSON body, or without one if `json` is empty.
pub(crate) fn request(host: &Host, method: &str, path: &str, json: &str, timeout: Duration) -> Result<Answer, Error> {
    const WHEN: &str = "during a request";
    let mut stream = connect(host, timeout)?;
    let body = match json {
        "" if method == "GET" => String::new(),
        json => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nAccept: application/json\r\nConnection: close\r\n{body}\r\n{json}"
    );
    stream.write_all(request.as_bytes()).map_err(|error| lost(error, WHEN, timeout))?;
    read_answer(stream, WHEN, timeout)
}

/// Reads the head of a response.
pub(crate) fn read_answer(stream: UnixStream, when: &'static str, timeout: Duration) -> Result<Answer, Error> {
    let mut reader = BufReader::with_capacity(16 * 1024, stream);
    loop {
        let (status, framing) = read_head(&mut reader, when, timeout)?;
        // 100 Continue and similar heads come before the response.
        if status >= 200 {
            return Ok(Answer { status, body: Body::new(reader, framing) });
        }
    }
}

fn read_head(
    reader: &mut BufReader<UnixStream>,
    when: &'static str,
    timeout: Duration,
) -> Result<(u16, Framing), Error> {
    let protocol = |what: &str| Error::Protocol(what.to_owned());
    let mut head = reader.by_ref().take(HEAD_MAX);
    let mut line = || -> Result<String, Error> {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line).map_err(|error| lost(error, when, timeout))?;
        if line.last() != Some(&b'\n') {
            let cut = io::Error::from(ErrorKind::UnexpectedEof);
            return Err(if head.limit() == 0 {
                protocol("a head of more than 32 KiB")
            } else {
                lost(cut, when, timeout)
            });
        }
        String::from_utf8(line).map(|line| line.trim_end().to_owned()).map_err(|_| protocol("a head that is not text"))
    };
    let first = line()?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| protocol("no HTTP status"))?;
    let mut framing = if matches!(status, 204 | 304) { Framing::Length(0) } else { Framing::UntilClose };
    loop {
        let field = line()?;
        let Some((name, value)) = field.split_once(':') else {
            return if field.is_empty() { Ok((status, framing)) } else { Err(protocol("a malformed head")) };
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("transfer-encoding", value) if value.eq_ignore_ascii_case("chunked") => framing = Framing::Chunked,
            ("content-length", value) if framing != Framing::Chunked => {
                framing = Framing::Length(value.parse().map_err(|_| protocol("a malformed length"))?);
            }
            _ => {}
        }
    }
}

/// Classifies an error of the connection.
pub(crate) fn lost(source: io::Error, when: &'static str, timeout: Duration) -> Error {
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Silent { minutes: timeout.as_secs().div_ceil(60), when },
        ErrorKind::InvalidData => Error::Protocol(source.to_string()),
        _ => Error::Gone { when, source },
    }
}

/// Escapes `text` for use in a path: nothing in it can end the path or the line.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b':' | b'@' | b'.' | b'_' | b'-' | b'~' => {
                path.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
        path
    })
}
