//! TLS with certificates that are replaced while the server runs.

use crate::server::Fleet;
use loader_testkit::{TestCa, wait_until, write_secret};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Returns the status of `/healthz` for a client that trusts only `ca`; `None` if the connection fails.
fn status(url: &str, ca: &TestCa) -> Option<u16> {
    let root = Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::from([root].into_iter())).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
    agent.get(format!("{url}/healthz")).call().ok().map(|response| response.status().as_u16())
}

fn write_pair(fleet: &Fleet, ca: &TestCa) {
    let pair = ca.server(&["127.0.0.1"], 2099).unwrap();
    write_secret(&fleet.path("cert.pem"), pair.cert);
    write_secret(&fleet.path("key.pem"), pair.key);
}

#[test]
fn a_replaced_certificate_is_used() {
    let fleet = Fleet::with_users();
    let (old, new) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    write_pair(&fleet, &old);
    let server = fleet.serve(&["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]);
    assert!(server.url.starts_with("https://"));
    assert_eq!((status(&server.url, &old), status(&server.url, &new)), (Some(200), None));
    // An unusable file changes nothing.
    write_secret(&fleet.path("cert.pem"), "");
    wait_until("the file was read", || !server.metrics().contains("az_server_certificate_errors_total 0\n"));
    assert_eq!(status(&server.url, &old), Some(200));
    write_pair(&fleet, &new);
    wait_until("the new certificate is used", || status(&server.url, &new) == Some(200));
    assert_eq!(status(&server.url, &old), None);
}

#[test]
fn an_unusable_certificate_prevents_the_start() {
    let fleet = Fleet::with_users();
    let (one, two) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    write_pair(&fleet, &one);
    write_secret(&fleet.path("key.pem"), two.server(&["127.0.0.1"], 2099).unwrap().key);
    let args = ["serve", "--listen", "127.0.0.1:0", "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"];
    assert_eq!(fleet.run(&args).status, 78);
    assert_eq!(fleet.run(&args[..5]).status, 2);
}
