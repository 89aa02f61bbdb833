//! The store against servers that cut, lie, redirect and refuse.
#![allow(clippy::unwrap_used)]

use loader_cdn::{Ask, Error, Expected, GetPlan, Range, Source, Start, Store, transfer};
use loader_http::{Http, HttpConfig, Retry};
use loader_model::{CdnCredentials, ErrorCode, PartReceipt, ResourceName};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const SEQUENTIAL: GetPlan = plan(1, 1 << 20);

const fn plan(jobs: usize, chunk_len: u64) -> GetPlan {
    GetPlan { jobs, chunk_len, adapts: false }
}

/// Answers one connection after the other as scripted and gives the requests seen.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_head(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                request
            })
            .collect()
    });
    (host, server)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn answer(head: &str, len: usize, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").replace('|', "\r\n")
}

fn store(host: &str) -> Store {
    let cdn = format!(r#"{{"host":"{host}","downloader_access_key":"AKID","downloader_access_secret":"SECRET"}}"#);
    let cdn: CdnCredentials = credentials(&cdn);
    let retry = Retry { first_wait: Duration::from_millis(1), ..Retry::default() };
    Store::new(&cdn, Http::new(HttpConfig { retry, ..HttpConfig::default() }).unwrap()).unwrap()
}

/// JSON is YAML, and the model reads YAML.
fn credentials(json: &str) -> CdnCredentials {
    loader_model::yaml::from_slice(json.as_bytes()).unwrap()
}

fn name() -> ResourceName {
    "models/v2/abc".parse().unwrap()
}

fn read_all(source: &mut dyn Source) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    transfer("big part", &mut [source], &Expected::default(), &mut |_| Ok(()), &mut all).map(|_| all)
}

#[test]
fn a_request_is_signed_for_bucket_and_key() {
    let (host, server) = serve(vec![answer("200 OK|ETag: \"v1\"", 3, "abc")]);
    let store = store(&host);
    let mut object = store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap();
    assert_eq!((object.size(), object.etag()), (3, Some("\"v1\"")));
    assert_eq!(read_all(&mut object).unwrap(), b"abc");
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("get /models/v2/abc.big http/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: aws4-hmac-sha256 credential=akid/"), "{request}");
    assert!(request.contains("/us-east-1/s3/aws4_request"), "{request}");
    assert_eq!(request.matches("\r\nhost: ").count(), 1, "{request}");
    assert!(!request.contains("secret\r\n"), "{request}");
}

#[test]
fn a_broken_line_is_continued_at_the_last_byte() {
    let (host, server) = serve(vec![
        answer("200 OK|ETag: \"v1\"", 3, "a"),
        answer("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 1-2/3", 2, "b"),
        answer("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 2-2/3", 1, "c"),
    ]);
    let (store, retries) = (store(&host), Cell::new(0));
    let notify = |_: &_| retries.set(retries.get() + 1);
    let mut object = store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &notify).unwrap();
    let mut out = Vec::new();
    let receipt = PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() };
    assert_eq!(
        transfer("big part", &mut [&mut object], &Expected::from(&receipt), &mut |_| Ok(()), &mut out).unwrap(),
        3
    );
    assert_eq!((out.as_slice(), retries.get()), (&b"abc"[..], 2));
    let requests = server.join().unwrap();
    assert!(requests[1].contains("range: bytes=1-\r\n") && requests[1].contains("if-range: \"v1\"\r\n"));
    assert!(requests[2].contains("range: bytes=2-\r\n"));
}

#[test]
fn an_object_that_changed_is_never_appended() {
    for second in [
        answer("200 OK|ETag: \"v2\"", 3, "xyz"),
        answer("206 Partial Content|ETag: \"v2\"|Content-Range: bytes 1-2/3", 2, "yz"),
        answer("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 1-3/4", 3, "xyz"),
    ] {
        let (host, _server) = serve(vec![answer("200 OK|ETag: \"v1\"", 3, "a"), second]);
        let store = store(&host);
        let error =
            read_all(&mut store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap())
                .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Changed, "{error}");
    }
}

#[test]
fn a_store_without_ranges_is_read_again_from_the_start() {
    let whole = || answer("200 OK|ETag: \"v1\"", 3, "abc");
    let (host, _server) = serve(vec![answer("200 OK|ETag: \"v1\"", 3, "a"), whole()]);
    let store = store(&host);
    assert_eq!(
        read_all(&mut store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap())
            .unwrap(),
        b"abc"
    );
}

#[test]
fn without_an_etag_nothing_is_continued() {
    let (host, server) = serve(vec![answer("200 OK", 3, "a")]);
    let store = store(&host);
    let error =
        read_all(&mut store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap())
            .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Temporary, "{error}");
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn a_part_must_be_the_range_that_was_asked_for() {
    for head in [
        "206 Partial Content|Content-Range: bytes 2-3/9",
        "206 Partial Content|Content-Range: bytes 1-3/9",
        "206 Partial Content|Content-Range: bytes 1-2/*",
        "206 Partial Content",
    ] {
        let (host, _server) = serve(vec![answer(head, 2, "xx")]);
        let ask = Ask { range: Some(Range { start: 1, end: Some(3) }), ..Ask::default() };
        let result = store(&host).ask(&name(), &ask);
        assert_eq!(result.err().map(|error| error.code()), Some(ErrorCode::Protocol), "{head}");
    }
    let (host, _server) = serve(vec!["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()]);
    assert_eq!(
        store(&host).get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap_err().code(),
        ErrorCode::Protocol
    );
}

#[test]
fn a_receipt_that_does_not_fit_is_a_mismatch() {
    for (size, sha256) in [(3, "00".repeat(32)), (2, SHA256_OF_ABC.to_owned()), (4, SHA256_OF_ABC.to_owned())] {
        let (host, _server) = serve(vec![answer("200 OK", 3, "abc")]);
        let store = store(&host);
        let expected = Expected::from(&PartReceipt { size, sha256 });
        let mut object = store.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap();
        let error = transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DigestMismatch, "{error}");
    }
}

/// What a store that sends no usable ETag, and less than it was asked for, needs.
#[test]
fn with_a_digest_ranges_need_no_etag() {
    let receipt = PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() };
    let expected = Expected::from(&receipt);
    let chunked =
        "HTTP/1.1 206 Partial Content|ETag: bare|Content-Range: bytes 1-1/*|Transfer-Encoding: chunked||1|b|0||";
    let unframed = "HTTP/1.1 206 Partial Content|ETag: \"v2\"|Content-Range: bytes 2-2/3||c";
    let answers = vec![
        answer("206 Partial Content|ETag: W/\"v1\"|Content-Range: bytes 0-0/3", 1, "a"),
        format!("{chunked}|").replace('|', "\r\n"),
        unframed.replace('|', "\r\n"),
    ];
    let (host, server) = serve(answers);
    let (store, retries) = (store(&host), Cell::new(0));
    let notify = |_: &_| retries.set(retries.get() + 1);
    let mut object = store.get(&name(), plan(2, 1 << 20), &Start::default(), &expected, &notify).unwrap();
    let mut out = Vec::new();
    transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut out).unwrap();
    assert_eq!((out.as_slice(), retries.get()), (&b"abc"[..], 0));
    let requests = server.join().unwrap();
    assert!(requests.iter().all(|request| !request.contains("if-range")), "{requests:?}");
}

/// Without a digest nothing proves that two answers are of one version.
#[test]
fn without_digest_and_etag_one_answer_has_to_be_the_whole() {
    let first = || answer("206 Partial Content|Content-Range: bytes 0-0/3", 1, "a");
    let (host, _server) = serve(vec![first(), answer("200 OK", 3, "xyz")]);
    let get = |host: &str| {
        store(host).get(&name(), plan(2, 1 << 20), &Start::default(), &Expected::default(), &|_| {}).unwrap()
    };
    assert_eq!(read_all(&mut get(&host)).unwrap(), b"xyz");
    let (host, _server) = serve(vec![first(), answer("200 OK", 3, "x")]);
    assert_eq!(read_all(&mut get(&host)).unwrap_err().code(), ErrorCode::Temporary);
}

/// The receipt has the size; neither less nor more than that passes.
#[test]
fn a_body_without_a_length_is_as_long_as_the_receipt_says() {
    let expected = Expected::from(&PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() });
    for (body, code) in [("abc", None), ("ab", Some(ErrorCode::Temporary)), ("abcd", Some(ErrorCode::Protocol))] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let (host, _server) = serve(vec![whole; 5]);
        let store = store(&host);
        let got = store.get(&name(), SEQUENTIAL, &Start::default(), &expected, &|_| {}).and_then(|mut object| {
            transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut Vec::new())
        });
        assert_eq!(got.err().map(|error| error.code()), code, "{body}");
        let (host, _server) = serve(vec![format!("{head}3\r\nabc\r\n0\r\n\r\n")]);
        let unknown = self::store(&host).get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {});
        assert_eq!(unknown.unwrap_err().code(), ErrorCode::Protocol);
    }
}

#[test]
fn refusals_carry_the_code_of_the_store() {
    for (head, body, code, text) in [
        ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>", ErrorCode::NotFound, "NoSuchKey"),
        ("404 Not Found", "", ErrorCode::NotFound, "HTTP 404"),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", ErrorCode::NotPermitted, "AccessDenied"),
        (
            "403 Forbidden",
            "<Error><Code>RequestTimeTooSkewed</Code></Error>",
            ErrorCode::Clock,
            "clock of this machine",
        ),
        (
            "400 Bad Request",
            "<Error><Code>Odd</Code><Message>what</Message></Error>",
            ErrorCode::Protocol,
            "HTTP 400, Odd, what",
        ),
        ("400 Bad Request", "<Error><Code>ExpiredToken</Code></Error>", ErrorCode::NotPermitted, "ExpiredToken"),
        ("400 Bad Request|x-amz-bucket-region: us-east-1", "", ErrorCode::Protocol, "HTTP 400"),
        ("400 Bad Request|x-amz-bucket-region: eu-west-1", "", ErrorCode::Config, "in the region eu-west-1, not in us"),
        ("301 Moved", "<Error><Region>eu-west-1</Region></Error>", ErrorCode::Config, "in the region eu-west-1"),
        ("301 Moved", "", ErrorCode::Protocol, "HTTP 301"),
        ("200 OK|Content-Type: text/html; charset=utf-8", "<html>", ErrorCode::Protocol, "login page"),
    ] {
        let (host, _server) = serve(vec![answer(head, body.len(), body)]);
        let error =
            store(&host).get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_refused_connection_is_an_absent_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        store(&host).get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap_err().code(),
        ErrorCode::Unavailable
    );
}

#[test]
fn secrets_stay_with_their_origin_on_a_redirect() {
    let (elsewhere, there) = serve(vec![answer("200 OK", 3, "abc")]);
    // As long as presigned URLs are, and longer than what is shown of any text.
    let token = "t".repeat(2000);
    let location = format!("{elsewhere}/signed?token={token}");
    let (host, here) = serve(vec![answer(&format!("307 Temporary Redirect|Location: {location}"), 0, "")]);
    let first = store(&host);
    assert_eq!(
        read_all(&mut first.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap())
            .unwrap(),
        b"abc"
    );
    assert!(here.join().unwrap()[0].contains("authorization: "));
    let request = there.join().unwrap().remove(0);
    assert!(request.starts_with(&format!("get /signed?token={token} ")), "{request}");
    assert!(!request.contains("authorization") && !request.contains("x-amz-"), "{request}");

    let (host, here) = serve(vec![
        answer("301 Moved|Location: /models/elsewhere/abc.big", 0, ""),
        answer("302 Found|Location: /models/../private/abc.big", 0, ""),
        answer("200 OK", 3, "abc"),
    ]);
    let second = store(&host);
    assert_eq!(
        read_all(&mut second.get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap())
            .unwrap(),
        b"abc"
    );
    let requests = here.join().unwrap();
    assert!(requests[1].starts_with("get /models/elsewhere/abc.big ") && requests[1].contains("authorization: "));
    assert!(!requests[2].contains("authorization: "), "{}", requests[2]);
}

/// The bytes that are here already are of no version that the store still has.
#[test]
fn an_object_shorter_than_what_is_here_has_changed() {
    let start = Start { offset: 5, etag: Some("\"v1\"".to_owned()) };
    for short in [
        answer("200 OK|ETag: \"v1\"", 3, "abc"),
        answer("200 OK|ETag: \"v1\"", 0, ""),
        answer("416 Range Not Satisfiable|ETag: \"v1\"|Content-Range: bytes */3", 0, ""),
    ] {
        for plan in [SEQUENTIAL, plan(2, 2)] {
            let (host, _server) = serve(vec![short.clone()]);
            let error = store(&host).get(&name(), plan, &start, &Expected::default(), &|_| {}).err();
            assert_eq!(error.map(|error| error.code()), Some(ErrorCode::Changed), "{short}");
        }
    }
}

#[test]
fn redirects_come_to_an_end() {
    let around = || answer("302 Found|Location: /models/v2/abc.big", 0, "");
    let (host, server) = serve((0..6).map(|_| around()).collect());
    assert_eq!(
        store(&host).get(&name(), SEQUENTIAL, &Start::default(), &Expected::default(), &|_| {}).unwrap_err().code(),
        ErrorCode::Protocol
    );
    assert_eq!(server.join().unwrap().len(), 6);
}

#[test]
fn a_head_gives_size_and_version() {
    let (host, server) = serve(vec![answer("200 OK|ETag: \"v1\"", 1 << 40, "")]);
    let meta = store(&host).head(&name(), &|_| {}).unwrap();
    assert_eq!((meta.size, meta.etag.as_deref()), (1 << 40, Some("\"v1\"")));
    assert!(server.join().unwrap()[0].starts_with("head /models/v2/abc.big "));
}

#[test]
fn a_refusal_without_a_body_tells_of_the_clock_by_its_date() {
    let far = "403 Forbidden|Date: Sun, 06 Nov 1994 08:49:37 GMT";
    for (head, code) in [(far, ErrorCode::Clock), ("403 Forbidden", ErrorCode::NotPermitted)] {
        let (host, _server) = serve(vec![answer(head, 0, "")]);
        assert_eq!(store(&host).head(&name(), &|_| {}).unwrap_err().code(), code);
    }
}

/// Serves `object` by ranges on any number of connections, cutting the first
/// answer to each range short, and gives the ranges that were asked for.
fn serve_ranges(object: &'static [u8]) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let (asked, ranges) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, asked) = (stream.unwrap(), asked.clone());
            std::thread::spawn(move || {
                let request = read_head(&mut stream);
                let range = request.split("range: bytes=").nth(1).unwrap().split('\r').next().unwrap().to_owned();
                let (first, last) = range.split_once('-').unwrap();
                let first: usize = first.parse().unwrap();
                let end = last.parse::<usize>().map_or(object.len(), |last| (last + 1).min(object.len()));
                let body = &object[first..end];
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes {first}-{}/{}\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n",
                    end - 1,
                    object.len(),
                    body.len()
                );
                let cut = if first.is_multiple_of(1000) { body.len() / 2 } else { body.len() };
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body[..cut]).unwrap();
                asked.send(range).unwrap();
            });
        }
    });
    (host, ranges)
}

#[test]
fn ranges_side_by_side_come_in_order_and_go_on_where_they_break() {
    let object: Vec<u8> = (0..10_500_u32).map(|i| (i % 251) as u8).collect();
    let (host, ranges) = serve_ranges(Vec::leak(object.clone()));
    let store = store(&host);
    for (jobs, start) in [(2, 0), (4, 0), (4, 2000), (8, 9999)] {
        let plan = plan(jobs, 1000);
        let start = Start { offset: start, etag: Some("\"v1\"".to_owned()) };
        let mut got = store.get(&name(), plan, &start, &Expected::default(), &|_| {}).unwrap();
        assert!(read_all(&mut got).unwrap() == object[start.offset as usize..], "{jobs} {start:?}");
    }
    let ranges: Vec<_> = ranges.try_iter().collect();
    assert!(ranges.iter().any(|range| range == "3000-3999") && ranges.iter().any(|range| range == "3500-3999"));
    let other = Start { offset: 5, etag: Some("\"v0\"".to_owned()) };
    let error = store.get(&name(), plan(2, 1000), &other, &Expected::default(), &|_| {}).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Changed);
}
