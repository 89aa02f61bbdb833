//! Requests of an attacker.

use crate::server::{Fleet, HARDWARE, Server, files_below, send};
use loader_testkit::wait_until;
use std::io::{Read, Write};
use std::net::TcpStream;

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap()
}

/// Sends raw bytes, and returns the response until the server closes the connection.
fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server);
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

#[test]
fn a_name_never_leaves_its_directory() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let (cam, ci) = (server.token("cam"), server.token("ci"));
    let before = files_below(&fleet.path("state"));
    let escapes = [
        "..",
        "../users",
        "../keys/x",
        "%2e%2e/users",
        "..%2fusers",
        "%2e%2e%2fusers",
        "a/../../users",
        "a%00b",
        "%5c..",
        ".",
    ];
    for folder in escapes {
        for (method, path) in [("POST", "get"), ("GET", "list")] {
            let body = format!(r#"{{"fileName":"cam@example.com","hardware":"{HARDWARE}","password":"cam pw"}}"#);
            let answer = raw(
                &server,
                format!(
                    "{method} /resources/{path}/{folder} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {cam}\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            );
            assert!(
                answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 404"),
                "{path} {folder}: {answer}"
            );
        }
    }
    for file in ["..", ".", ".hidden", "../users/x", "..\\x", "a/b", "users\u{0}", &"a".repeat(129)] {
        let answer = server.upload(&ci, "/models", file, b"x");
        assert!(answer.status == 400, "{file:?}: {}", answer.text());
        assert_eq!(server.get(&cam, "", file, HARDWARE, "cam pw").status, 400, "{file:?}");
    }
    let deep = "/a".repeat(8);
    assert_eq!(server.upload(&ci, &deep, "x", b"x").status, 400);
    assert_eq!(files_below(&fleet.path("state")), before);
    for email in ["../users/cam", "cam@example.com/../cam@example.com", "/etc/passwd", "cam@example.com\u{0}"] {
        let body = serde_json::json!({"email": email, "password": "cam pw"}).to_string();
        assert_eq!(send("POST", &format!("{}/login", server.url), &[], body.as_bytes()).status, 401, "{email}");
    }
}

#[test]
fn an_unknown_user_cannot_be_told_from_a_wrong_password() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let (known, unknown) = (server.login("cam", "guess"), server.login("nobody", "guess"));
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    let mut names = [known, unknown].map(|answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>());
    names.iter_mut().for_each(|names| names.sort());
    assert_eq!(names[0], names[1]);
    // A locked account is reported only to somebody who knows its password.
    fleet.ok(&["user", "lock", "cam@example.com"]);
    assert_eq!(server.login("cam", "guess").status, 401);
}

#[test]
fn a_role_cannot_be_chosen() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let body = r#"{"email":"cam@example.com","password":"cam pw","role":"ApiAdmin","Role":1000}"#;
    let answer = send("POST", &format!("{}/login", server.url), &[], body.as_bytes());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(server.upload(&token, "", "x", b"x").refusal(), (403, "role".into()));
    // A token in a place other than the header is ignored.
    let ci = server.token("ci");
    let url = format!("{}/resources/list?access_token={ci}&token={ci}", server.url);
    assert_eq!(send("GET", &url, &[("cookie", &format!("token={ci}"))], b"").refusal(), (401, "no_token".into()));
}

#[test]
fn floods_of_header_fields_and_bodies_are_bounded() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(200_000));
    for fields in [many, large] {
        let answer = raw(&server, format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let large = vec![b' '; 70_000];
    assert_eq!(send("POST", &format!("{}/login", server.url), &[], &large).status, 413);
    let ci = server.token("ci");
    assert_eq!(server.upload(&ci, "", "x", &vec![0; 16 * 1024 * 1024 + 1]).refusal(), (413, "too_large".into()));
    // A declared length that never arrives, and chunks without an end, are refused by their size.
    let head = format!(
        "POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ci}\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
    );
    let declared = raw(&server, format!("{head}Content-Length: 99999999999\r\n\r\n--cut\r\n").as_bytes());
    assert!(declared.starts_with("HTTP/1.1 413") || declared.starts_with("HTTP/1.1 400"), "{declared}");
    assert!(files_below(&fleet.path("state/incoming")).is_empty());
    // Two lengths, or a length and chunks, which proxies read differently.
    for lengths in ["Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: x\r\n"] {
        let answer = raw(&server, format!("POST /login HTTP/1.1\r\nHost: x\r\n{lengths}\r\n{{}}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
    assert_eq!(server.list(&ci).status, 200);
}

#[test]
fn a_slow_body_is_refused() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&["--request-time", "300ms"]);
    let answer = raw(&server, b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("timeout"), "{answer}");
}

#[test]
fn connections_of_one_address_are_bounded() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&["--connections-per-address", "5"]);
    let held: Vec<_> = (0..5).map(|_| connect(&server)).collect();
    wait_until("all are accepted", || server.metrics().contains("az_server_connections_open 5\n"));
    let mut refused = connect(&server);
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    assert!(server.metrics().contains("az_server_connections_refused_total 1\n"));
    drop(held);
    wait_until("there is room", || server.metrics().contains("az_server_connections_open 0\n"));
    assert_eq!(server.login("cam", "cam pw").status, 200);
}
