//! Tests of a proxy that refuses requests.

use crate::fixture::{FetchFixture, NAME};
use loader_testkit::read_head;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Starts a proxy that answers each request with this status and counts the requests.
fn proxy(status: u16) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_head(&mut stream);
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address.to_string(), count)
}

#[test]
fn refusal_of_a_proxy_is_reported_with_a_hint() {
    let fixture = FetchFixture::new(1 << 20);
    for (status, url, code, asked, words) in [
        (407, "https://api.example.com", 78, 1, "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
        (407, "http://api.example.com", 78, 1, "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
        (403, "https://api.example.com", 77, 1, "NO_PROXY"),
        (503, "https://api.example.com", 69, 3, "after 3 attempts"),
    ] {
        let (address, count) = proxy(status);
        let mut command = fixture.command(&[NAME, "--insecure-http"]);
        command.env("AZ_API_URL", url).env("HTTPS_PROXY", format!("http://joe:hunter2@{address}"));
        let run = command.env("AZ_RETRIES", "2").env("AZ_RETRY_WAIT", "0.01").output().unwrap();
        let events = String::from_utf8(run.stderr).unwrap();
        let last = events.lines().last().unwrap();
        assert!(run.status.code() == Some(code) && last.contains(words), "{status}: {events}");
        assert!(last.contains(&status.to_string()) && last.contains(&address), "{status}: {events}");
        assert!(!events.contains("hunter2"), "{status}: {events}");
        assert_eq!(count.load(Ordering::Relaxed), asked, "{status}");
    }
}
