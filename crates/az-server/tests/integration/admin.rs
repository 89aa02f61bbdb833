//! Commands that change the directory, seen by a running server.

use crate::server::{Answer, Fleet, HARDWARE, send};
use loader_api::{Token, jwt::Verifier};
use loader_model::Credentials;
use loader_seal::device::{Binding, SealedKind, open};
use loader_testkit::{set_mode, write_secret};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

/// Opens a response that is sealed to [`HARDWARE`] and the user in `token`.
fn opened(answer: &Answer, token: &str, kind: SealedKind, password: &str) -> Vec<u8> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = Token::parse(token).unwrap().user().id_bytes().unwrap();
    let mut hardware = [0; 32];
    for chunk in hardware.chunks_exact_mut(4) {
        chunk.copy_from_slice(&[0xa1, 0xb2, 0xc3, 0xd4]);
    }
    open(&answer.body, kind, &Binding { user: id, password, hardware, secret: None }).unwrap().to_vec()
}

#[test]
fn a_repeated_command_changes_nothing() {
    let fleet = Fleet::with_users();
    let before = std::fs::read(fleet.path("state/users/cam@example.com")).unwrap();
    fleet.add("cam", &["--hardware-file", "hwid"]);
    assert_eq!(std::fs::read(fleet.path("state/users/cam@example.com")).unwrap(), before);
    for args in [
        &["user", "role", "cam@example.com", "Operator"][..],
        &["user", "unlock", "CAM@example.com"],
        &["user", "hardware", "cam@example.com", "--hardware-file", "hwid"],
    ] {
        fleet.ok(args);
        assert_eq!(std::fs::read(fleet.path("state/users/cam@example.com")).unwrap(), before, "{args:?}");
    }
    for more in [&["--role", "Admin"][..], &[]] {
        let args = [&["user", "add", "cam@example.com", "--password-file", "password"], more].concat();
        let finished = fleet.run(&args);
        assert!(finished.status == 73 && finished.stderr.contains("exists already"), "{}", finished.stderr);
    }
    fleet.ok(&["key", "rotate", "--if-older-than", "30d"]);
    assert_eq!(fleet.ok(&["check"]), "");
    let kids = fleet.ok(&["key", "list"]);
    fleet.ok(&["key", "rotate", "--if-older-than", "30d"]);
    assert_eq!(fleet.ok(&["key", "list"]), kids);
}

#[test]
fn credentials_are_created_for_the_device() {
    let fleet = Fleet::new();
    let args = ["user", "add", "cam@example.com", "--credentials-file", "cam.json"];
    fleet.ok(&args);
    fleet.ok(&args);
    let known = Credentials::from_json(&std::fs::read(fleet.path("cam.json")).unwrap()).unwrap();
    assert_eq!((known.email.as_str(), known.password.len()), ("cam@example.com", 32));
    let mode = fleet.path("cam.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fleet.serve(&[]).login("cam", &known.password).status, 200);
    let other = fleet.run(&["user", "add", "other@example.com", "--credentials-file", "cam.json"]);
    assert!(other.status == 65 && !other.stderr.contains(known.password.as_str()), "{}", other.stderr);
}

#[test]
fn the_list_contains_no_secret() {
    let fleet = Fleet::with_users();
    let list = fleet.ok(&["user", "list"]);
    let users: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(users[0]["email"], "cam@example.com");
    assert_eq!((&users[0]["hardware"], &users[1]["role"]), (&json!(HARDWARE), &json!("ResourceUploader")));
    assert!(!list.contains("argon2") && !list.contains("cam pw"), "{list}");
    let stored = std::fs::read_to_string(fleet.path("state/users/cam@example.com")).unwrap();
    assert!(stored.contains("$argon2id$") && !stored.contains("cam pw"), "{stored}");
}

#[test]
fn an_unusable_command_line_is_refused() {
    let fleet = Fleet::with_users();
    for (args, status) in [
        (&["user", "passwd", "nobody@example.com"][..], 66),
        (&["user", "lock", "nobody@example.com"], 66),
        (&["user", "add", "../x@y", "--password-file", "password"], 65),
        (&["user", "add", "new@example.com"], 78),
        (&["user", "add", "new@example.com", "--role", "Root", "--password-file", "password"], 2),
        (&["user", "add", "new@example.com", "--password-file", "missing"], 66),
        (&["fragment", "set", "missing"], 66),
        (&["fragment", "set", "fragment", "--user", "nobody@example.com"], 66),
        (&["cdn", "set", "hwid"], 65),
        (&["serve", "--listen", "0.0.0.0:0"], 2),
        (&["serve", "--metrics-listen", "0.0.0.0:0"], 2),
        (&["--dir", "none", "serve"], 78),
        (&["--dir", ".", "user", "add", "new@example.com", "--password-file", "password"], 78),
    ] {
        let finished = fleet.run(args);
        assert_eq!(finished.status, status, "{args:?}: {}", finished.stderr);
        assert!(!finished.stderr.contains("ci pw"), "{}", finished.stderr);
    }
    set_mode(&fleet.path("password"), 0o644);
    assert_eq!(fleet.run(&["user", "passwd", "cam@example.com", "--password-file", "password"]).status, 78);
    fleet.ok(&["user", "passwd", "cam@example.com", "--password-file", "password", "--insecure-perms"]);
}

#[test]
fn a_running_server_sees_each_change() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let token = server.token("cam");
    assert_eq!(server.list(&token).status, 200);
    fleet.ok(&["user", "lock", "cam@example.com"]);
    assert_eq!(server.list(&token).refusal(), (401, "token_revoked".into()));
    assert_eq!(server.login("cam", "cam pw").refusal(), (409, "account_locked".into()));
    assert_eq!(server.login("cam", "guess").refusal(), (401, "bad_credentials".into()));
    fleet.ok(&["user", "unlock", "cam@example.com"]);
    assert_eq!(server.list(&token).refusal(), (401, "token_revoked".into()));
    let token = server.token("cam");
    assert_eq!(server.upload(&token, "/models", "a", b"x").refusal(), (403, "role".into()));
    fleet.ok(&["user", "role", "cam@example.com", "ApiAdmin"]);
    assert_eq!(server.upload(&token, "/models", "a", b"x").refusal(), (401, "token_revoked".into()));
    let token = server.token("cam");
    assert_eq!(server.upload(&token, "/models", "a", b"x").status, 200);
    let part = server.get(&token, "/models", "a", HARDWARE, "cam pw");
    assert_eq!(opened(&part, &token, SealedKind::SmallPart, "cam pw"), b"x");
    assert_eq!(
        server.get(&token, "/models", "a", &"0".repeat(64), "cam pw").refusal(),
        (409, "hardware_mismatch".into())
    );
    assert_eq!(server.get(&token, "/models", "a", HARDWARE, "cam").refusal(), (403, "password_mismatch".into()));
    fleet.add("new", &[]);
    assert_eq!(server.list(&server.token("new")).status, 200);
    assert_eq!(fleet.ok(&["check"]), "");
}

#[test]
fn the_fragment_is_sealed_when_the_password_is_known() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let token = server.token("cam");
    assert_eq!(server.fragment(&token).refusal(), (404, "not_found".into()));
    fleet.ok(&["fragment", "set", "fragment"]);
    let refused = server.fragment(&token);
    assert_eq!(refused.refusal(), (401, "login_again".into()));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    let token = server.token("cam");
    assert_eq!(opened(&server.fragment(&token), &token, SealedKind::Fragment, "cam pw"), b"AZ-FRAG-1TEST\n");
    assert_eq!(server.fragment(&server.token("ci")).refusal(), (409, "hardware_unknown".into()));
    // A fragment of the user alone, raw bytes.
    write_secret(&fleet.path("own"), [0xff, 0, 1]);
    fleet.ok(&["fragment", "set", "own", "--user", "cam@example.com"]);
    assert_eq!(server.fragment(&token).refusal(), (401, "login_again".into()));
    let token = server.token("cam");
    assert_eq!(opened(&server.fragment(&token), &token, SealedKind::Fragment, "cam pw"), [0xff, 0, 1]);
    // The command seals it to the new password.
    write_secret(&fleet.path("password"), "other\r\n");
    fleet.ok(&["user", "passwd", "cam@example.com", "--password-file", "password"]);
    assert_eq!(server.fragment(&token).refusal(), (401, "token_revoked".into()));
    assert_eq!(server.login("cam", "cam pw").status, 401);
    let token = server.login("cam", "other").json()["token"].as_str().unwrap().to_owned();
    assert_eq!(opened(&server.fragment(&token), &token, SealedKind::Fragment, "other"), [0xff, 0, 1]);
    fleet.ok(&["fragment", "remove", "--user", "cam@example.com"]);
    fleet.ok(&["fragment", "remove"]);
    assert_eq!(server.fragment(&token).refusal(), (404, "not_found".into()));
}

#[test]
fn each_role_gets_its_credentials_of_the_cdn() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let document = "host: s3.example.com\ndownloader_access_key: down\ndownloader_access_secret: ds\n\
                    uploader_access_key: up\nuploader_access_secret: us\n";
    write_secret(&fleet.path("cdn.yaml"), document);
    fleet.ok(&["cdn", "set", "cdn.yaml"]);
    let (cam, ci) = (server.token("cam"), server.token("ci"));
    let read = |token: &str, password: &str| {
        let answer = server.get(token, "", "cdn.yaml", HARDWARE, password);
        String::from_utf8(opened(&answer, token, SealedKind::Cdn, password)).unwrap()
    };
    let operator = read(&cam, "cam pw");
    assert!(operator.contains("down") && !operator.contains("up\"") && !operator.contains("us\""), "{operator}");
    assert!(read(&ci, "ci pw").contains("\"us\""));
    assert_eq!(server.upload(&ci, "", "cdn.yaml", b"host: evil").refusal(), (403, "reserved".into()));
    assert_eq!(server.upload(&ci, "/a", "cdn.yaml", b"x").status, 200);
}

#[test]
fn tokens_are_verified_with_the_published_keys() {
    let fleet = Fleet::with_users();
    let server = fleet.serve(&[]);
    let old = server.token("cam");
    let verify = |jwks: &[u8], token: &str| {
        Verifier::from_jwks(jwks).unwrap().verify(&Token::parse(token).unwrap(), SystemTime::now())
    };
    let published = || send("GET", &format!("{}/.well-known/jwks.json", server.url), &[], b"").body;
    let user = verify(&published(), &old).unwrap();
    assert_eq!((user.email.as_str(), user.verified), ("cam@example.com", true));
    fleet.ok(&["key", "rotate", "--after", "1h"]);
    assert_eq!(published(), fleet.ok(&["key", "jwks"]).trim_end().as_bytes());
    let same_key = server.token("cam");
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_eq!(header(&same_key), header(&old));
    fleet.ok(&["key", "rotate"]);
    let new = server.token("cam");
    assert_ne!(header(&new), header(&old));
    assert!(verify(&published(), &old).is_ok() && verify(&published(), &new).is_ok());
    assert_eq!((server.list(&old).status, server.list(&new).status), (200, 200));
    fleet.ok(&["key", "rotate", "--revoke"]);
    assert_eq!(server.list(&new).refusal(), (401, "bad_token".into()));
    assert_eq!(server.list(&server.token("cam")).status, 200);
    assert_eq!(fleet.ok(&["key", "list"]).lines().count(), 1);
}
