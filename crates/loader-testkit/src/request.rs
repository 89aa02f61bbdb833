//! Requests as servers of tests read them.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use std::io::Read;

/// Reads the header of an HTTP request, including its empty line. Returns less if the client
/// leaves before.
pub fn read_head(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads an HTTP request, with a body if its header contains a length.
///
/// # Panics
/// If the length is not a number, or if the client leaves before the end of the body.
pub fn read_request(stream: &mut impl Read) -> String {
    let head = read_head(stream);
    let lower = head.to_lowercase();
    let len = lower.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; len.map_or(0, |len| len.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_its_body() {
        let mut stream = &b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /"[..];
        assert_eq!(read_request(&mut stream), "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!(read_request(&mut &b"GET / HTTP/1.1\r\n\r\nx"[..]), "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read_head(&mut stream), "GET /");
    }
}
