//! Several servers, many devices, metrics, the audit log and the stop.

use crate::server::{Fleet, HARDWARE, send};
use loader_testkit::{wait_until, write_secret};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn two_servers_share_a_directory() {
    let fleet = Fleet::with_users();
    let (one, two) = (fleet.serve(&[]), fleet.serve(&[]));
    let (ci, cam) = (one.token("ci"), two.token("cam"));
    assert_eq!(two.upload(&ci, "/models/v1", "yolo.onnx", b"part").status, 200);
    assert_eq!(one.get(&cam, "/models/v1", "yolo.onnx", HARDWARE, "cam pw").status, 200);
    assert_eq!(one.call(&cam, "GET", "/resources/list/models/v1", b"").json()[0]["name"], "yolo.onnx");
    fleet.ok(&["user", "lock", "cam@example.com"]);
    for server in [&one, &two] {
        assert_eq!(server.list(&cam).refusal(), (401, "token_revoked".into()));
    }
    // The key is the same, although both servers started with an empty directory of keys.
    assert_eq!(fleet.ok(&["key", "list"]).lines().count(), 1);
}

#[test]
fn devices_log_in_concurrently() {
    let fleet = Fleet::with_users();
    fleet.ok(&["fragment", "set", "fragment"]);
    let server = fleet.serve(&[]);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let token = server.token("cam");
                assert_eq!(server.fragment(&token).status, 200);
                assert_eq!(server.get(&token, "", "none", HARDWARE, "cam pw").status, 404);
            });
        }
    });
    let metrics = server.metrics();
    assert!(metrics.contains("az_server_responses_total{call=\"login\",status=\"200\"} 100\n"), "{metrics}");
    wait_until("all connections are closed", || server.metrics().contains("az_server_connections_open 0\n"));
    assert_eq!(fleet.ok(&["check"]), "");
}

#[test]
fn the_audit_log_names_who_what_and_from_where() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&["--behind-proxy"]);
    server.login("cam", "guess");
    let token = server.token("cam");
    server.upload(&token, "/models", "a", b"content of a");
    server.get(&token, "/models", "missing", HARDWARE, "cam pw");
    let forwarded = [("x-forwarded-for", "203.0.113.9, 192.0.2.7")];
    let body = br#"{"email":"a password in the wrong field","password":"x"}"#;
    send("POST", &format!("{}/login", server.url), &forwarded, body);
    fleet.ok(&["user", "lock", "cam@example.com", "--audit-file", "audit"]);
    server.list(&token);
    let lines = fleet.audit();
    let of = |line: &serde_json::Value| {
        ["action", "user", "target", "address", "result"]
            .map(|name| line[name].as_str().unwrap_or("-").to_owned())
            .join(" ")
    };
    assert_eq!(
        lines.iter().map(of).collect::<Vec<_>>(),
        [
            "login cam@example.com - 127.0.0.1 bad_credentials",
            "login cam@example.com - 127.0.0.1 ok",
            "upload cam@example.com - 127.0.0.1 role",
            "get cam@example.com models/missing 127.0.0.1 not_found",
            "login - - 192.0.2.7 bad_credentials",
            "user-lock cam@example.com - - ok",
            "list cam@example.com - 127.0.0.1 token_revoked",
        ]
    );
    let text = std::fs::read_to_string(fleet.path("audit")).unwrap();
    for secret in ["cam pw", "guess", &token, "wrong field", "content of a"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(server.metrics().contains("az_server_logins_failed_total 2\n"));
}

#[test]
fn failed_logins_are_throttled_by_account_and_address() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&["--behind-proxy"]);
    let login = |email: &str, address: &str| {
        let body = format!(r#"{{"email":"{email}","password":"guess"}}"#);
        send("POST", &format!("{}/login", server.url), &[("x-forwarded-for", address)], body.as_bytes())
    };
    for _ in 0..10 {
        assert_eq!(login("cam@example.com", "192.0.2.1").status, 401);
    }
    let refused = login("CAM@example.com", "192.0.2.1");
    assert_eq!(refused.refusal(), (429, "too_many_logins".into()));
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // Neither another account there nor the same account elsewhere has to wait.
    assert_eq!(login("ci@example.com", "192.0.2.1").status, 401);
    assert_eq!(login("cam@example.com", "192.0.2.2").status, 401);
    // A password in a request for a resource is a guess, too.
    let token = server.token("ci");
    let tries: Vec<_> = (0..11).map(|_| server.get(&token, "", "x", HARDWARE, "guess").status).collect();
    assert_eq!(tries, [[403; 10].as_slice(), &[429]].concat());
}

#[test]
fn a_stop_completes_open_requests() {
    let fleet = Fleet::with_users();
    let mut server = fleet.serve(&[]);
    let token = server.token("ci");
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let head = "--cut\r\nContent-Disposition: form-data; name=\"data\"; filename=\"late\"\r\n\r\n";
    let body = format!("{head}content\r\n--cut--\r\n");
    let mut stream = TcpStream::connect(&address).unwrap();
    let (first, rest) = body.split_at(head.len() + 3);
    write!(
        stream,
        "POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=cut\r\n\r\n{first}",
        body.len()
    )
    .unwrap();
    let incoming = fleet.path("state/incoming");
    wait_until("the upload has begun", || std::fs::read_dir(&incoming).unwrap().count() == 1);
    Command::new("kill").arg(server.child.id().to_string()).status().unwrap();
    wait_until("the listener is closed", || TcpStream::connect(&address).is_err());
    stream.write_all(rest.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read(fleet.path("state/resources/late")).unwrap(), b"content");
}

#[test]
fn settings_are_read_at_the_start() {
    let fleet = Fleet::with_users();
    fleet.ok(&["fragment", "set", "fragment"]);
    let settings = r#"{"fragment_form":"text","fragment_min_role":"Validator","argon2":{"memory_kib":64,"passes":1}}"#;
    write_secret(&fleet.path("state/server.json"), settings);
    let server = fleet.serve(&[]);
    assert_eq!(server.fragment(&server.token("cam")).refusal(), (403, "role".into()));
    assert_eq!(server.fragment(&server.token("ci")).text(), "AZ-FRAG-1TEST\n");
    for (settings, reason) in [
        (r#"{"fragment_from":"text"}"#, "not the expected JSON"),
        (r#"{"argon2":{"memory_kib":4000000}}"#, "at most 256 MiB"),
    ] {
        write_secret(&fleet.path("state/server.json"), settings);
        let finished = fleet.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert!(finished.status == 65 && finished.stderr.contains(reason), "{}", finished.stderr);
        assert!(fleet.run(&["check"]).text().contains(reason));
    }
}
