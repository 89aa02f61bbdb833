//! The HTTP client against servers that respond, truncate, stall, refuse or send invalid data.
#![allow(clippy::unwrap_used)]

use loader_http::{BaseUrl, Error, Http, HttpConfig, HttpRequest, Method, Retry, RetryNotice};
use loader_model::{Coded, ErrorCode};
use loader_testkit::read_head;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

/// Sends the given bytes to one connection after the other, then closes it. `None`
/// keeps the connection open without sending a byte. Returns the received requests.
fn serve(responses: Vec<Option<Vec<u8>>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x?secret=1", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        responses
            .into_iter()
            .map(|response| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_head(&mut stream);
                match response {
                    Some(bytes) => stream.write_all(&bytes).unwrap(),
                    None => drop(stream.read(&mut [0; 1])),
                }
                request
            })
            .collect()
    });
    (url, server)
}

fn ok(body: &str) -> Option<Vec<u8>> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes())
}

fn raw(text: &str) -> Option<Vec<u8>> {
    Some(text.replace('\n', "\r\n").into_bytes())
}

fn quick() -> HttpConfig {
    let retry = Retry {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(1),
        longest_retry_after: Duration::from_millis(1),
        ..Retry::default()
    };
    HttpConfig { idle_timeout: Duration::from_secs(60), retry, ..HttpConfig::default() }
}

fn get(url: &str) -> HttpRequest<'static> {
    HttpRequest::new(Method::GET, url)
}

#[test]
fn a_body_within_the_limit_is_complete() {
    let (url, server) = serve(vec![ok("hello")]);
    let answer = Http::new(quick()).unwrap().exchange(&get(&url), 5, &|_| {}).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    let request = server.join().unwrap().remove(0).to_lowercase();
    assert!(request.contains("user-agent: azaion-loader/"), "{request}");
    assert!(!request.contains("accept-encoding: gzip"), "{request}");
}

#[test]
fn a_body_above_the_limit_is_refused_by_announced_and_actual_length() {
    let chunked = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n6\nhello!\n0\n\n";
    for answer in [ok("hello!"), raw(chunked)] {
        let (url, _server) = serve(vec![answer]);
        let error = Http::new(quick()).unwrap().exchange(&get(&url), 5, &|_| {}).err().unwrap();
        assert!(matches!(error, Error::TooLong { cap: 5, .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::Protocol);
    }
}

#[test]
fn a_short_body_is_an_error_after_all_attempts() {
    let short = || raw("HTTP/1.1 200 OK\nContent-Length: 10\n\nhello");
    let (url, server) = serve(vec![short(), short(), short(), short(), short()]);
    let notices = RefCell::new(Vec::<RetryNotice>::new());
    let http = Http::new(quick()).unwrap();
    let error = http.exchange(&get(&url), 100, &|notice| notices.borrow_mut().push(notice.clone())).err().unwrap();
    assert!(matches!(error.cause(), Error::Short { got: 5, expected: 10, .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Temporary);
    assert!(error.to_string().ends_with("body ended after 5 of 10 bytes, after 5 attempts"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(server.join().unwrap().len(), 5);
    assert_eq!(notices.borrow().iter().map(|notice| notice.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_truncated_chunked_body_is_retried() {
    let cut = raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n10\nhello");
    let (url, _server) = serve(vec![cut, ok("well")]);
    assert_eq!(&Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).unwrap().body[..], b"well");
}

#[test]
fn a_body_without_an_announced_end_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\n\nhello",
        "HTTP/1.1 200 OK\nTransfer-Encoding: identity\n\nhello",
        "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ] {
        let (url, _server) = serve(vec![raw(answer)]);
        let error = Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).err().unwrap();
        assert_eq!(error.code(), ErrorCode::Protocol, "{answer}");
    }
}

#[test]
fn a_busy_server_is_retried() {
    let busy = |status: u16| {
        Some(
            format!("HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .into_bytes(),
        )
    };
    let (url, server) = serve(vec![busy(503), busy(429), busy(408), busy(500), ok("well")]);
    let reasons = RefCell::new(Vec::new());
    let notify = |notice: &RetryNotice| reasons.borrow_mut().push(notice.reason.clone());
    assert_eq!(&Http::new(quick()).unwrap().exchange(&get(&url), 100, &notify).unwrap().body[..], b"well");
    assert_eq!(server.join().unwrap().len(), 5);
    let first = &reasons.borrow()[0];
    assert!(first.ends_with(": HTTP 503, service unavailable"), "{first}");
}

#[test]
fn a_retry_after_above_the_limit_is_not_retried() {
    for value in ["3600", "Fri, 01 Jan 2100 01:00:00 GMT\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT"] {
        let answer =
            format!("HTTP/1.1 429 X\r\nRetry-After: {value}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (url, server) = serve(vec![Some(answer.into_bytes())]);
        let error = Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).map(drop).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Temporary);
        assert!(error.to_string().ends_with("; it asks to wait 3600 s"), "{error}");
        assert_eq!(server.join().unwrap().len(), 1);
    }
}

#[test]
fn a_silent_server_times_out_but_a_slow_one_does_not() {
    // On a busy machine a later response may time out too.
    let (url, _server) = serve([vec![None], vec![ok("well"); 4]].concat());
    let short = || HttpConfig { idle_timeout: Duration::from_millis(500), ..quick() };
    assert_eq!(&Http::new(short()).unwrap().exchange(&get(&url), 100, &|_| {}).unwrap().body[..], b"well");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let _server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").unwrap();
        for byte in b"trickles" {
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(&[*byte]).unwrap();
        }
    });
    // 2.4 s in total, more than the idle timeout of 2 s.
    let longer = HttpConfig { idle_timeout: Duration::from_secs(2), ..quick() };
    assert_eq!(&Http::new(longer).unwrap().exchange(&get(&url), 100, &|_| {}).unwrap().body[..], b"trickles");
}

#[test]
fn a_transfer_that_is_too_slow_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let _server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n").unwrap();
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let retry = Retry { attempts: 1, ..Retry::default() };
    let config = HttpConfig { idle_timeout: Duration::from_secs(1), retry, ..HttpConfig::default() };
    let error = Http::new(config).unwrap().exchange(&get(&url), 10_000, &|_| {}).err().unwrap();
    assert!(matches!(error, Error::TimedOut { .. }) && error.to_string().contains(": only "), "{error}");
}

#[test]
fn a_refused_connection_is_temporary() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).err().unwrap();
    assert!(matches!(error.cause(), Error::Refused { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Temporary);
}

#[test]
fn plain_http_is_allowed_only_for_loopback() {
    let http = Http::new(quick()).unwrap();
    let error = http.exchange(&get("http://192.0.2.1/"), 1, &|_| {}).err().unwrap();
    assert_eq!(error.code(), ErrorCode::Config);
    assert!(error.hint().unwrap().contains("--insecure-http"));
    let insisted = Http::new(HttpConfig { insecure_http: true, ..quick() }).unwrap();
    assert!(insisted.check(BaseUrl::parse("http://192.0.2.1").unwrap().origin()).is_ok());
}

#[test]
fn a_response_is_read_even_if_the_server_closes_before_it_has_read_the_request() {
    let (url, server) = serve(vec![raw("HTTP/1.1 413 Content Too Large\nContent-Length: 0\nConnection: close\n\n")]);
    // More than the socket buffers hold: a write fails after the server has closed.
    let body = vec![0; 64 << 20];
    let request = HttpRequest::new(Method::PUT, url).body(&body);
    let response = Http::new(quick()).unwrap().open(&request).unwrap();
    assert_eq!(response.status, 413);
    server.join().unwrap();
}

#[test]
fn a_connection_that_closes_without_a_response_is_broken() {
    let (url, server) = serve(vec![raw("")]);
    let body = vec![0; 64 << 20];
    let request = HttpRequest::new(Method::PUT, url).body(&body);
    let error = Http::new(quick()).unwrap().open(&request).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn a_redirect_is_returned_not_followed() {
    let (url, server) = serve(vec![raw("HTTP/1.1 302 Found\nLocation: http://127.0.0.1:1/\nContent-Length: 0\n\n")]);
    assert_eq!(Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).unwrap().status, 302);
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn a_server_without_tls_is_not_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let error = Http::new(quick()).unwrap().exchange(&get(&url), 100, &|_| {}).err().unwrap();
    assert_eq!(error.code(), ErrorCode::Protocol, "{error}");
    server.join().unwrap();
}

#[test]
fn an_unusable_certificate_file_is_named_in_the_error() {
    let missing = HttpConfig { ca_file: Some("/nonexistent/ca.pem".into()), ..quick() };
    let error = Http::new(missing).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent/ca.pem: "), "{error}");
    assert_eq!(error.code(), ErrorCode::Config);
}
