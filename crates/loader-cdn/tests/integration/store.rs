//! Tests of the store against servers that truncate, send wrong responses, redirect and refuse.

use loader_cdn::{
    ByteRange, ByteSource, Error, ExpectedPart, GetRequest, ObjectStore, ReadPlan, ResumePoint, transfer,
};
use loader_http::{Http, HttpConfig, Retry};
use loader_model::{CdnCredentials, Coded, ErrorCode, PartReceipt, ResourceName};
use std::cell::Cell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const SEQUENTIAL: ReadPlan = plan(1, 1 << 20);

const fn plan(jobs: usize, chunk_len: u64) -> ReadPlan {
    ReadPlan { jobs, chunk_len, is_adaptive: false }
}

/// Serves one scripted response per connection and returns the received requests.
fn serve(responses: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        responses
            .into_iter()
            .map(|response| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_head(&mut stream);
                stream.write_all(response.as_bytes()).unwrap();
                request
            })
            .collect()
    });
    (host, server)
}

fn read_head(stream: &mut TcpStream) -> String {
    loader_testkit::read_head(stream).to_lowercase()
}

fn response(head: &str, len: usize, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").replace('|', "\r\n")
}

fn store(host: &str) -> ObjectStore {
    let cdn = format!(r#"{{"host":"{host}","downloader_access_key":"AKID","downloader_access_secret":"SECRET"}}"#);
    let cdn: CdnCredentials = credentials(&cdn);
    let retry = Retry { first_wait: Duration::from_millis(1), ..Retry::default() };
    ObjectStore::new(&cdn, Http::new(HttpConfig { retry, ..HttpConfig::default() }).unwrap()).unwrap()
}

/// JSON is valid YAML, which the model parses.
fn credentials(json: &str) -> CdnCredentials {
    loader_model::yaml::from_slice(json.as_bytes()).unwrap()
}

fn name() -> ResourceName {
    "models/v2/abc".parse().unwrap()
}

fn read_all(source: &mut dyn ByteSource) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    transfer("big part", &mut [source], &ExpectedPart::default(), &mut |_| Ok(()), &mut all).map(|_| all)
}

#[test]
fn request_is_signed_for_bucket_and_key() {
    let (host, server) = serve(vec![response("200 OK|ETag: \"v1\"", 3, "abc")]);
    let store = store(&host);
    let mut object =
        store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap();
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
fn broken_connection_is_resumed_at_the_next_byte() {
    let (host, server) = serve(vec![
        response("200 OK|ETag: \"v1\"", 3, "a"),
        response("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 1-2/3", 2, "b"),
        response("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 2-2/3", 1, "c"),
    ]);
    let (store, retries) = (store(&host), Cell::new(0));
    let notify = |_: &_| retries.set(retries.get() + 1);
    let mut object =
        store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &notify).unwrap();
    let mut out = Vec::new();
    let receipt = PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() };
    assert_eq!(
        transfer("big part", &mut [&mut object], &ExpectedPart::from(&receipt), &mut |_| Ok(()), &mut out).unwrap(),
        3
    );
    assert_eq!((out.as_slice(), retries.get()), (&b"abc"[..], 2));
    let requests = server.join().unwrap();
    assert!(requests[1].contains("range: bytes=1-\r\n") && requests[1].contains("if-range: \"v1\"\r\n"));
    assert!(requests[2].contains("range: bytes=2-\r\n"));
}

#[test]
fn changed_object_is_never_appended() {
    for second in [
        response("200 OK|ETag: \"v2\"", 3, "xyz"),
        response("206 Partial Content|ETag: \"v2\"|Content-Range: bytes 1-2/3", 2, "yz"),
        response("206 Partial Content|ETag: \"v1\"|Content-Range: bytes 1-3/4", 3, "xyz"),
    ] {
        let (host, _server) = serve(vec![response("200 OK|ETag: \"v1\"", 3, "a"), second]);
        let store = store(&host);
        let error = read_all(
            &mut store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap(),
        )
        .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Changed, "{error}");
    }
}

#[test]
fn store_without_ranges_is_read_again_from_the_start() {
    let whole = || response("200 OK|ETag: \"v1\"", 3, "abc");
    let (host, _server) = serve(vec![response("200 OK|ETag: \"v1\"", 3, "a"), whole()]);
    let store = store(&host);
    assert_eq!(
        read_all(
            &mut store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap()
        )
        .unwrap(),
        b"abc"
    );
}

#[test]
fn read_without_etag_is_not_resumed() {
    let (host, server) = serve(vec![response("200 OK", 3, "a")]);
    let store = store(&host);
    let error = read_all(
        &mut store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap(),
    )
    .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Temporary, "{error}");
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn response_must_match_the_requested_range() {
    for head in [
        "206 Partial Content|Content-Range: bytes 2-3/9",
        "206 Partial Content|Content-Range: bytes 1-3/9",
        "206 Partial Content|Content-Range: bytes 1-2/*",
        "206 Partial Content",
    ] {
        let (host, _server) = serve(vec![response(head, 2, "xx")]);
        let ask = GetRequest { range: Some(ByteRange { start: 1, end: Some(3) }), ..GetRequest::default() };
        let result = store(&host).get_range(&name(), &ask);
        assert_eq!(result.err().map(|error| error.code()), Some(ErrorCode::Protocol), "{head}");
    }
    let (host, _server) = serve(vec!["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()]);
    assert_eq!(
        store(&host)
            .get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {})
            .unwrap_err()
            .code(),
        ErrorCode::Protocol
    );
}

#[test]
fn wrong_receipt_is_a_mismatch() {
    for (size, sha256) in [(3, "00".repeat(32)), (2, SHA256_OF_ABC.to_owned()), (4, SHA256_OF_ABC.to_owned())] {
        let (host, _server) = serve(vec![response("200 OK", 3, "abc")]);
        let store = store(&host);
        let expected = ExpectedPart::from(&PartReceipt { size, sha256 });
        let mut object =
            store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap();
        let error = transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DigestMismatch, "{error}");
    }
}

/// Covers stores that send no strong ETag and less than the requested range.
#[test]
fn ranges_need_no_etag_if_the_digest_is_known() {
    let receipt = PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() };
    let expected = ExpectedPart::from(&receipt);
    let chunked =
        "HTTP/1.1 206 Partial Content|ETag: bare|Content-Range: bytes 1-1/*|Transfer-Encoding: chunked||1|b|0||";
    let unframed = "HTTP/1.1 206 Partial Content|ETag: \"v2\"|Content-Range: bytes 2-2/3||c";
    let responses = vec![
        response("206 Partial Content|ETag: W/\"v1\"|Content-Range: bytes 0-0/3", 1, "a"),
        format!("{chunked}|").replace('|', "\r\n"),
        unframed.replace('|', "\r\n"),
    ];
    let (host, server) = serve(responses);
    let (store, retries) = (store(&host), Cell::new(0));
    let notify = |_: &_| retries.set(retries.get() + 1);
    let mut object = store.get(&name(), plan(2, 1 << 20), &ResumePoint::default(), &expected, &notify).unwrap();
    let mut out = Vec::new();
    transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut out).unwrap();
    assert_eq!((out.as_slice(), retries.get()), (&b"abc"[..], 0));
    let requests = server.join().unwrap();
    assert!(requests.iter().all(|request| !request.contains("if-range")), "{requests:?}");
}

/// Without a digest nothing proves that two responses are of one version.
#[test]
fn without_digest_and_etag_one_response_contains_the_whole_object() {
    let first = || response("206 Partial Content|Content-Range: bytes 0-0/3", 1, "a");
    let (host, _server) = serve(vec![first(), response("200 OK", 3, "xyz")]);
    let get = |host: &str| {
        store(host).get(&name(), plan(2, 1 << 20), &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap()
    };
    assert_eq!(read_all(&mut get(&host)).unwrap(), b"xyz");
    let (host, _server) = serve(vec![first(), response("200 OK", 3, "x")]);
    assert_eq!(read_all(&mut get(&host)).unwrap_err().code(), ErrorCode::Temporary);
}

/// The receipt contains the size; a shorter or longer body is refused.
#[test]
fn body_without_length_has_the_size_in_the_receipt() {
    let expected = ExpectedPart::from(&PartReceipt { size: 3, sha256: SHA256_OF_ABC.to_owned() });
    for (body, code) in [("abc", None), ("ab", Some(ErrorCode::Temporary)), ("abcd", Some(ErrorCode::Protocol))] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let (host, _server) = serve(vec![whole; 5]);
        let store = store(&host);
        let got = store.get(&name(), SEQUENTIAL, &ResumePoint::default(), &expected, &|_| {}).and_then(|mut object| {
            transfer("big part", &mut [&mut object], &expected, &mut |_| Ok(()), &mut Vec::new())
        });
        assert_eq!(got.err().map(|error| error.code()), code, "{body}");
        let (host, _server) = serve(vec![format!("{head}3\r\nabc\r\n0\r\n\r\n")]);
        let unknown =
            self::store(&host).get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {});
        assert_eq!(unknown.unwrap_err().code(), ErrorCode::Protocol);
    }
}

#[test]
fn refusals_contain_the_error_code_of_the_store() {
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
        let (host, _server) = serve(vec![response(head, body.len(), body)]);
        let error = store(&host)
            .get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {})
            .unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn refused_connection_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        store(&host)
            .get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {})
            .unwrap_err()
            .code(),
        ErrorCode::Unavailable
    );
}

#[test]
fn redirects_do_not_send_secrets_to_another_origin() {
    let (other_host, other_server) = serve(vec![response("200 OK", 3, "abc")]);
    // As long as a presigned URL, and longer than any text in a message.
    let token = "t".repeat(2000);
    let location = format!("{other_host}/signed?token={token}");
    let (host, server) = serve(vec![response(&format!("307 Temporary Redirect|Location: {location}"), 0, "")]);
    let first = store(&host);
    assert_eq!(
        read_all(
            &mut first.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap()
        )
        .unwrap(),
        b"abc"
    );
    assert!(server.join().unwrap()[0].contains("authorization: "));
    let request = other_server.join().unwrap().remove(0);
    assert!(request.starts_with(&format!("get /signed?token={token} ")), "{request}");
    assert!(!request.contains("authorization") && !request.contains("x-amz-"), "{request}");

    let (host, server) = serve(vec![
        response("301 Moved|Location: /models/elsewhere/abc.big", 0, ""),
        response("302 Found|Location: /models/../private/abc.big", 0, ""),
        response("200 OK", 3, "abc"),
    ]);
    let second = store(&host);
    assert_eq!(
        read_all(
            &mut second.get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {}).unwrap()
        )
        .unwrap(),
        b"abc"
    );
    let requests = server.join().unwrap();
    assert!(requests[1].starts_with("get /models/elsewhere/abc.big ") && requests[1].contains("authorization: "));
    assert!(!requests[2].contains("authorization: "), "{}", requests[2]);
}

/// The resumed bytes belong to a version that the store no longer has.
#[test]
fn object_shorter_than_the_resumed_bytes_has_changed() {
    let start = ResumePoint { offset: 5, etag: Some("\"v1\"".to_owned()) };
    for short in [
        response("200 OK|ETag: \"v1\"", 3, "abc"),
        response("200 OK|ETag: \"v1\"", 0, ""),
        response("416 Range Not Satisfiable|ETag: \"v1\"|Content-Range: bytes */3", 0, ""),
    ] {
        for plan in [SEQUENTIAL, plan(2, 2)] {
            let (host, _server) = serve(vec![short.clone()]);
            let error = store(&host).get(&name(), plan, &start, &ExpectedPart::default(), &|_| {}).err();
            assert_eq!(error.map(|error| error.code()), Some(ErrorCode::Changed), "{short}");
        }
    }
}

#[test]
fn number_of_redirects_is_limited() {
    let redirect = || response("302 Found|Location: /models/v2/abc.big", 0, "");
    let (host, server) = serve((0..6).map(|_| redirect()).collect());
    assert_eq!(
        store(&host)
            .get(&name(), SEQUENTIAL, &ResumePoint::default(), &ExpectedPart::default(), &|_| {})
            .unwrap_err()
            .code(),
        ErrorCode::Protocol
    );
    assert_eq!(server.join().unwrap().len(), 6);
}

#[test]
fn head_returns_size_and_version() {
    let (host, server) = serve(vec![response("200 OK|ETag: \"v1\"", 1 << 40, "")]);
    let meta = store(&host).head(&name(), &|_| {}).unwrap();
    assert_eq!((meta.size, meta.etag.as_deref()), (Some(1 << 40), Some("\"v1\"")));
    assert!(server.join().unwrap()[0].starts_with("head /models/v2/abc.big "));
}

#[test]
fn refusal_without_a_body_reveals_a_wrong_clock_by_its_date() {
    let far = "403 Forbidden|Date: Sun, 06 Nov 1994 08:49:37 GMT";
    for (head, code) in [(far, ErrorCode::Clock), ("403 Forbidden", ErrorCode::NotPermitted)] {
        let (host, _server) = serve(vec![response(head, 0, "")]);
        assert_eq!(store(&host).head(&name(), &|_| {}).unwrap_err().code(), code);
    }
}

/// Serves ranges of `object` on any number of connections, truncates the first response to each
/// range, and returns the requested ranges.
fn serve_ranges(object: &'static [u8]) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let (range_sender, ranges) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, range_sender) = (stream.unwrap(), range_sender.clone());
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
                let sent_len = if first.is_multiple_of(1000) { body.len() / 2 } else { body.len() };
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body[..sent_len]).unwrap();
                range_sender.send(range).unwrap();
            });
        }
    });
    (host, ranges)
}

#[test]
fn concurrent_ranges_arrive_in_order_and_are_resumed() {
    let object: Vec<u8> = (0..10_500_u32).map(|i| (i % 251) as u8).collect();
    let (host, ranges) = serve_ranges(Vec::leak(object.clone()));
    let store = store(&host);
    for (jobs, start) in [(2, 0), (4, 0), (4, 2000), (8, 9999)] {
        let plan = plan(jobs, 1000);
        let start = ResumePoint { offset: start, etag: Some("\"v1\"".to_owned()) };
        let mut got = store.get(&name(), plan, &start, &ExpectedPart::default(), &|_| {}).unwrap();
        assert!(read_all(&mut got).unwrap() == object[start.offset as usize..], "{jobs} {start:?}");
    }
    let ranges: Vec<_> = ranges.try_iter().collect();
    assert!(ranges.iter().any(|range| range == "3000-3999") && ranges.iter().any(|range| range == "3500-3999"));
    let other = ResumePoint { offset: 5, etag: Some("\"v0\"".to_owned()) };
    let error = store.get(&name(), plan(2, 1000), &other, &ExpectedPart::default(), &|_| {}).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Changed);
}
