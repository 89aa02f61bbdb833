//! The fault proxy: the exact effect of each fault on a client.

use crate::wire::{BIG, BIG_LEN, SigningClient, big, seed};
use loader_testkit::{Config, DevServer, Side};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

fn start(faults: &str) -> DevServer {
    DevServer::start(Config { faults: Some(faults.parse().unwrap()), ..Config::seeded(seed().path()) }).unwrap()
}

/// Sends a request over a plain socket. Returns the response header, the number of body
/// bytes, and whether the connection was reset.
fn raw(server: &DevServer, method: &str, headers: &str) -> (String, usize, bool) {
    let signed = SigningClient::downloader(server);
    let url = signed.presigned(BIG, 60);
    let rest = url.strip_prefix(server.s3_url()).unwrap();
    let host = server.s3_url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{method} {rest} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let reset = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(read) => all.extend(&buffer[..read]),
            Err(error) => break error.kind() == ErrorKind::ConnectionReset,
        }
    };
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    (String::from_utf8_lossy(&all[..end]).into_owned(), all.len() - end, reset)
}

#[test]
fn a_body_is_cut_at_the_offset_of_the_rule() {
    for (faults, len, reset) in [
        ("reset@100000", 100_000, true),
        ("reset@0", 0, true),
        ("short@299999", 299_999, false),
        ("reset@300000", BIG_LEN, false),
        ("reset@1,every=2", BIG_LEN, false),
        ("reset@1,on=api", BIG_LEN, false),
        ("reset@1,method=PUT", BIG_LEN, false),
        ("trickle@299000,rate=20K", BIG_LEN, false),
    ] {
        let server = start(faults);
        let (head, got, was_reset) = raw(&server, "GET", "");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("content-length: 300000"), "{head}");
        assert_eq!((got, was_reset), (len, reset), "{faults}");
        assert_eq!(server.faults().unwrap().sent(Side::Cdn), (head.len() + got) as u64, "{faults}");
    }
    for faults in ["reset", "short"] {
        let server = start(faults);
        let (head, _, was_reset) = raw(&server, "GET", "");
        assert_eq!((head.as_str(), was_reset), ("", faults == "reset"));
        assert_eq!(server.requests().len(), 1, "the server has responded");
    }
}

#[test]
fn a_stall_ends_when_it_is_released() {
    let server = start("stall@1000,times=1");
    let log = server.faults().unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| raw(&server, "GET", ""));
        log.wait_stalled(1);
        assert!(!reading.is_finished() && log.sent(Side::Cdn) < 2000);
        log.release();
        assert_eq!(reading.join().unwrap().1, BIG_LEN);
    });
}

#[test]
fn response_headers_are_altered() {
    let server = start("503,times=1,retry-after=7;wrong-range,times=1;ignore-range,times=1;gzip,times=1;new-etag");
    let get = || SigningClient::downloader(&server).get(BIG, &[("range", "bytes=10-19")]);
    let busy = get();
    assert_eq!((busy.status, busy.header("retry-after"), server.requests().len()), (503, "7", 0));
    let wrong = get();
    assert_eq!((wrong.status, wrong.header("content-range")), (206, "bytes 11-20/300000"));
    assert!(wrong.body == big()[10..20]);
    let whole = get();
    assert_eq!((whole.status, whole.body.len()), (200, BIG_LEN));
    let gzip = get();
    assert_eq!((gzip.header("content-encoding"), &gzip.body[..2]), ("gzip", &b"\x1f\x8b"[..]));
    let etag = get().header("etag").to_owned();
    assert!(etag.starts_with("\"new-"), "{etag}");
    let old = format!("\"{}", &etag["\"new-".len()..]);
    let again = |etag: &str| {
        let (head, ..) = raw(&server, "GET", &format!("Range: bytes=10-19\r\nIf-Range: {etag}\r\n"));
        head["HTTP/1.1 ".len()..][..3].parse::<u16>().unwrap()
    };
    assert_eq!((again(&etag), again(&old)), (206, 200));
    assert_eq!(server.faults().unwrap().fired(), 7);
}

#[test]
fn a_redirect_serves_the_object_and_counts_secrets() {
    let server = start("redirect,times=2;redirect-loop");
    let signed = SigningClient::downloader(&server);
    let there = signed.get(BIG, &[]).header("location").to_owned();
    assert!(!there.starts_with(server.s3_url()), "{there}");
    let got = crate::wire::send("GET", &there, &[], b"");
    assert!(got.status == 200 && got.body == big());
    assert_eq!(server.faults().unwrap().leaked(), 0);
    crate::wire::send("GET", &there, &[("authorization", "x")], b"");
    assert_eq!(server.faults().unwrap().leaked(), 1);
    signed.get(BIG, &[]);
    let around = signed.get(BIG, &[]);
    assert_eq!((around.status, around.header("location").starts_with(server.s3_url())), (307, true));
}

#[test]
fn a_request_body_is_cut() {
    let server = start("reset-upload@1000,times=1");
    let host = server.api_url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\n").unwrap();
    let _ = stream.write_all(&[b' '; 5000]);
    assert!(stream.read(&mut [0]).is_err());
    assert!(server.requests().iter().all(|line| line.status != 200));
    let login = br#"{"email":"operator@example.com","password":"operator pw"}"#;
    let url = format!("{}/login", server.api_url());
    assert_eq!(crate::wire::send("POST", &url, &[("content-type", "application/json")], login).status, 200);
    assert_eq!(server.faults().unwrap().received(Side::Api), 1000 + login.len() as u64);
}
