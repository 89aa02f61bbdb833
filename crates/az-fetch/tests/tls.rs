//! Both servers over https: who is trusted, what is said of who is not, and a
//! connection that is cut without a word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod site;

use loader_testkit::{CertifiedKey, TestCa, Tls};
use site::{NAME, Site};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

const LEN: usize = 3 << 20;

/// A year that is far enough.
const VALID: i32 = 2099;

fn site(server: CertifiedKey, client_ca: Option<String>) -> Site {
    Site::https(LEN, Tls { server, client_ca })
}

fn fetch(site: &Site, ca: Option<&str>, more: &[&str]) -> Output {
    let mut command = site.command(more);
    command.arg(NAME).env("AZ_RETRY_WAIT", "0.02").env("AZ_IDLE_TIMEOUT", "2").env_remove("AZ_CACHE_DIR");
    if let Some(pem) = ca {
        site.secret("ca.pem", pem.as_bytes());
        command.arg("--ca-file").arg(site.path("ca.pem"));
    }
    command.output().unwrap()
}

/// Fails unless nothing came, with status 78 and these words in the last line.
fn refused(output: &Output, words: &[&str]) {
    let events = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{events}");
    assert!(output.stdout.is_empty());
    let last = events.lines().last().unwrap();
    for word in words {
        assert!(last.contains(word), "no {word:?} in {last}");
    }
}

#[test]
fn the_ca_file_is_trusted_and_nothing_else() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let site = site(ca.server(&["127.0.0.1"], VALID).unwrap(), None);
    assert!(site.server.api_url().starts_with("https://") && site.server.s3_url().starts_with("https://"));

    let good = fetch(&site, Some(&ca.pem()), &[]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(good.stdout == site.whole(), "{} bytes came", good.stdout.len());

    refused(&fetch(&site, None, &[]), &["127.0.0.1", "certificate", "--ca-file"]);
    refused(&fetch(&site, Some(&other.pem()), &[]), &["127.0.0.1", "certificate"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let ca = TestCa::new().unwrap();
    let site = site(ca.server(&["cdn.example.com"], VALID).unwrap(), None);
    refused(&fetch(&site, Some(&ca.pem()), &[]), &["127.0.0.1", "not valid for name"]);
}

#[test]
fn a_certificate_whose_time_is_over_is_refused_and_the_clock_is_named() {
    let ca = TestCa::new().unwrap();
    let site = site(ca.server(&["127.0.0.1"], 2001).unwrap(), None);
    refused(&fetch(&site, Some(&ca.pem()), &[]), &["127.0.0.1", "expired", "clock"]);
}

#[test]
fn a_certificate_whose_time_has_not_come_is_a_matter_of_the_clock() {
    let ca = TestCa::new().unwrap();
    let site = site(ca.server_from(&["127.0.0.1"], 2098).unwrap(), None);
    let words = ["127.0.0.1", "not valid yet, according to the clock of this machine: ", "\"clock\"", "set the clock"];
    refused(&fetch(&site, Some(&ca.pem()), &[]), &words);
}

#[test]
fn a_server_that_asks_for_a_client_certificate_gets_it() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let site = site(ca.server(&["127.0.0.1"], VALID).unwrap(), Some(ca.pem()));
    let (good, foreign) = (ca.client("device").unwrap(), other.client("device").unwrap());
    for (name, pair) in [("good", &good), ("foreign", &foreign)] {
        site.secret(&format!("{name}.crt"), pair.cert.as_bytes());
        site.secret(&format!("{name}.key"), pair.key.as_bytes());
    }
    let shown = |cert: &str, key: &str| {
        let [cert, key] = [cert, key].map(|name| site.path(name).to_str().unwrap().to_owned());
        fetch(&site, Some(&ca.pem()), &["--client-cert-file", &cert, "--client-key-file", &key])
    };

    let output = shown("good.crt", "good.key");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == site.whole());

    // Both servers ask for it, and standard input is there once.
    let mut command = site.command(&["--client-key-file", "-", NAME]);
    command.arg("--client-cert-file").arg(site.path("good.crt")).arg("--ca-file").arg(site.path("ca.pem"));
    let output = command.stdin(std::fs::File::open(site.path("good.key")).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == site.whole());

    refused(&fetch(&site, Some(&ca.pem()), &[]), &["127.0.0.1", "certificate", "--client-cert-file"]);
    refused(&shown("foreign.crt", "foreign.key"), &["127.0.0.1", "certificate"]);
    refused(&shown("good.crt", "foreign.key"), &["does not match its key"]);
    std::fs::set_permissions(site.path("good.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    refused(&shown("good.crt", "good.key"), &["the key of the client certificate can be read by group or others"]);
}

#[test]
fn a_connection_cut_without_close_notify_is_no_end() {
    let ca = TestCa::new().unwrap();
    let site = site(ca.server(&["127.0.0.1"], VALID).unwrap(), None);
    for (faults, what) in [("short@700000,on=cdn,times=3", "closed"), ("reset@700000,on=cdn,times=3", "reset")] {
        site.faults().set(faults.parse().unwrap());
        let output = fetch(&site, Some(&ca.pem()), &["--jobs", "3", "--chunk", "1M"]);
        let events = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{what}: {events}");
        assert!(output.stdout == site.whole(), "{what}: {} bytes", output.stdout.len());
        assert!(events.contains("\"retry\""), "{what}: the connection was not cut: {events}");
    }
    site.faults().set("short@700000,on=cdn".parse().unwrap());
    let output = fetch(&site, Some(&ca.pem()), &["--jobs", "1", "--retries", "1"]);
    assert!(site.whole().starts_with(&output.stdout));
    assert!(output.status.code() != Some(0) || output.stdout.len() == site.whole().len());
}

#[test]
fn plain_http_leaves_the_machine_only_when_insisted_on() {
    let site = Site::new(1000);
    let mut command = site.command(&[NAME]);
    let output = command.env("AZ_API_URL", "http://192.0.2.1:9").output().unwrap();
    refused(&output, &["192.0.2.1:9", "plain http", "--insecure-http"]);
}
