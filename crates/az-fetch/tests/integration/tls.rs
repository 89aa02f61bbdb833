//! Tests of both servers over https: trusted and untrusted certificates, and connections that are
//! cut without close_notify.

use crate::fixture::{FetchFixture, NAME};
use loader_testkit::{CertifiedKey, TestCa, Tls, set_mode};
use std::process::Output;

const LEN: usize = 3 << 20;

/// Last year of validity, far in the future.
const VALID: i32 = 2099;

fn fixture(server: CertifiedKey, client_ca: Option<String>) -> FetchFixture {
    FetchFixture::https(LEN, Tls { server, client_ca })
}

fn fetch(fixture: &FetchFixture, ca: Option<&str>, more: &[&str]) -> Output {
    let mut command = fixture.command(more);
    command.arg(NAME).env("AZ_RETRY_WAIT", "0.02").env("AZ_IDLE_TIMEOUT", "2").env_remove("AZ_CACHE_DIR");
    if let Some(pem) = ca {
        fixture.secret("ca.pem", pem);
        command.arg("--ca-file").arg(fixture.path("ca.pem"));
    }
    command.output().unwrap()
}

/// Asserts that nothing was written, that the status is 78, and that the last line contains
/// `words`.
fn assert_refused(output: &Output, words: &[&str]) {
    let events = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{events}");
    assert!(output.stdout.is_empty());
    let last = events.lines().last().unwrap();
    for word in words {
        assert!(last.contains(word), "no {word:?} in {last}");
    }
}

#[test]
fn only_the_ca_file_is_trusted() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let fixture = fixture(ca.server(&["127.0.0.1"], VALID).unwrap(), None);
    assert!(fixture.server().api_url().starts_with("https://") && fixture.server().s3_url().starts_with("https://"));

    let good = fetch(&fixture, Some(&ca.pem()), &[]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(good.stdout == fixture.whole(), "{} bytes were written", good.stdout.len());

    assert_refused(&fetch(&fixture, None, &[]), &["127.0.0.1", "certificate", "--ca-file"]);
    assert_refused(&fetch(&fixture, Some(&other.pem()), &[]), &["127.0.0.1", "certificate"]);
}

#[test]
fn certificate_for_another_name_is_refused() {
    let ca = TestCa::new().unwrap();
    let fixture = fixture(ca.server(&["cdn.example.com"], VALID).unwrap(), None);
    assert_refused(&fetch(&fixture, Some(&ca.pem()), &[]), &["127.0.0.1", "not valid for name"]);
}

#[test]
fn expired_certificate_is_refused_with_the_clock_in_the_message() {
    let ca = TestCa::new().unwrap();
    let fixture = fixture(ca.server(&["127.0.0.1"], 2001).unwrap(), None);
    assert_refused(&fetch(&fixture, Some(&ca.pem()), &[]), &["127.0.0.1", "expired", "clock"]);
}

#[test]
fn certificate_that_is_not_yet_valid_is_a_clock_error() {
    let ca = TestCa::new().unwrap();
    let fixture = fixture(ca.server_from(&["127.0.0.1"], 2098).unwrap(), None);
    let words = ["127.0.0.1", "not valid yet according to the clock of this machine: ", "\"clock\"", "set the clock"];
    assert_refused(&fetch(&fixture, Some(&ca.pem()), &[]), &words);
}

#[test]
fn client_certificate_is_sent_on_request() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let fixture = fixture(ca.server(&["127.0.0.1"], VALID).unwrap(), Some(ca.pem()));
    let (good, foreign) = (ca.client("device").unwrap(), other.client("device").unwrap());
    for (name, pair) in [("good", &good), ("foreign", &foreign)] {
        fixture.secret(&format!("{name}.crt"), &pair.cert);
        fixture.secret(&format!("{name}.key"), &pair.key);
    }
    let shown = |cert: &str, key: &str| {
        let [cert, key] = [cert, key].map(|name| fixture.path(name).to_str().unwrap().to_owned());
        fetch(&fixture, Some(&ca.pem()), &["--client-cert-file", &cert, "--client-key-file", &key])
    };

    let output = shown("good.crt", "good.key");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == fixture.whole());

    // Both servers request the key, and standard input can be read only once.
    let mut command = fixture.command(&["--client-key-file", "-", NAME]);
    command.arg("--client-cert-file").arg(fixture.path("good.crt")).arg("--ca-file").arg(fixture.path("ca.pem"));
    let output = command.stdin(std::fs::File::open(fixture.path("good.key")).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == fixture.whole());

    assert_refused(&fetch(&fixture, Some(&ca.pem()), &[]), &["127.0.0.1", "certificate", "--client-cert-file"]);
    assert_refused(&shown("foreign.crt", "foreign.key"), &["127.0.0.1", "certificate"]);
    assert_refused(&shown("good.crt", "foreign.key"), &["does not match its key"]);
    set_mode(&fixture.path("good.key"), 0o640);
    assert_refused(
        &shown("good.crt", "good.key"),
        &["the key of the client certificate can be read by group or others"],
    );
}

#[test]
fn connection_cut_without_close_notify_is_not_the_end() {
    let ca = TestCa::new().unwrap();
    let fixture = fixture(ca.server(&["127.0.0.1"], VALID).unwrap(), None);
    for (faults, what) in [("short@700000,on=cdn,times=3", "closed"), ("reset@700000,on=cdn,times=3", "reset")] {
        fixture.faults().set(faults.parse().unwrap());
        let output = fetch(&fixture, Some(&ca.pem()), &["--jobs", "3", "--chunk", "1M"]);
        let events = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{what}: {events}");
        assert!(output.stdout == fixture.whole(), "{what}: {} bytes", output.stdout.len());
        assert!(events.contains("\"retry\""), "{what}: the connection was not cut: {events}");
    }
    fixture.faults().set("short@700000,on=cdn".parse().unwrap());
    let output = fetch(&fixture, Some(&ca.pem()), &["--jobs", "1", "--retries", "1"]);
    assert!(fixture.whole().starts_with(&output.stdout));
    assert!(output.status.code() != Some(0) || output.stdout.len() == fixture.whole().len());
}

#[test]
fn plain_http_to_another_machine_needs_insecure_http() {
    let fixture = FetchFixture::new(1000);
    let mut command = fixture.command(&[NAME]);
    let output = command.env("AZ_API_URL", "http://192.0.2.1:9").output().unwrap();
    assert_refused(&output, &["192.0.2.1:9", "plain http", "--insecure-http"]);
}
