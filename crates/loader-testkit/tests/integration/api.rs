//! The HTTP API over real sockets.

use crate::wire::{HARDWARE, TestResponse, call, seed, send, start, start_with};
use loader_seal::device::{Binding, SealedKind, open};
use loader_testkit::{Config, DevServer, OPENAPI, sha256};
use serde_json::{Value, json};

fn login(server: &DevServer, email: &str, password: &str) -> TestResponse {
    let body = json!({"email": email, "password": password}).to_string();
    send("POST", &format!("{}/login", server.api_url()), &[("content-type", "application/json")], body.as_bytes())
}

fn get(server: &DevServer, user: &str, folder: &str, file: &str, hardware: &str) -> TestResponse {
    let body = json!({"fileName": file, "hardware": hardware, "password": format!("{user} pw")}).to_string();
    call(server, user, "POST", &format!("/resources/get{folder}"), body.as_bytes())
}

fn upload(server: &DevServer, user: &str, folder: &str, field: &str, file: &str, content: &[u8]) -> TestResponse {
    let token = server.token(&format!("{user}@example.com"), 60).unwrap();
    let head = format!("--cut\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\r\n");
    let body = [head.as_bytes(), content, b"\r\n--cut--\r\n"].concat();
    let headers =
        [("authorization", &*format!("Bearer {token}")), ("content-type", "multipart/form-data; boundary=cut")];
    send("POST", &format!("{}/resources{folder}", server.api_url()), &headers, &body)
}

fn opened(response: &TestResponse, n: u8, user: &str, kind: SealedKind) -> Vec<u8> {
    assert_eq!(response.status, 200, "{}", response.text());
    let mut id = [0; 16];
    (id[6], id[8], id[15]) = (0x40, 0x80, n);
    let mut hardware = [0; 32];
    for chunk in hardware.chunks_exact_mut(4) {
        chunk.copy_from_slice(&[0xa1, 0xb2, 0xc3, 0xd4]);
    }
    let password = format!("{user} pw");
    open(&response.body, kind, &Binding { user: id, password: &password, hardware, secret: None }).unwrap().to_vec()
}

#[test]
fn login_returns_a_token_only_for_the_correct_password() {
    let server = start();
    let right = login(&server, "operator@example.com", "operator pw");
    assert_eq!(right.status, 200);
    let token = right.json()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let listed = send("GET", &format!("{}/resources/list", server.api_url()), &[("authorization", &bearer)], b"");
    assert_eq!(listed.status, 200);
    for (email, password) in [("operator@example.com", "operator p"), ("nobody@example.com", "operator pw")] {
        assert_eq!(login(&server, email, password).refusal(), (401, "bad_credentials".into()));
    }
    assert_eq!(login(&server, "locked@example.com", "locked pw").refusal(), (409, "account_locked".into()));
    assert_eq!(login(&server, "", "x").status, 400);
    assert_eq!(login(&server, "a@b", &"x".repeat(70_000)).status, 413);
}

#[test]
fn the_eleventh_failed_login_has_to_wait() {
    let server = start();
    for _ in 0..10 {
        assert_eq!(login(&server, "operator@example.com", "guess").status, 401);
    }
    let refused = login(&server, "operator@example.com", "operator pw");
    assert_eq!(refused.refusal(), (429, "too_many_logins".into()));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(login(&server, "uploader@example.com", "uploader pw").status, 200);
}

#[test]
fn a_forged_or_expired_token_is_refused() {
    let server = start();
    let other = start();
    let url = format!("{}/resources/list", server.api_url());
    let with = |value: &str| send("GET", &url, &[("authorization", value)], b"");
    let token = |server: &DevServer, seconds| server.token("operator@example.com", seconds).unwrap();
    assert_eq!(with(&format!("Bearer {}", token(&server, 60))).status, 200);
    let expired = with(&format!("Bearer {}", token(&server, -5)));
    assert_eq!(expired.refusal(), (401, "token_expired".into()));
    assert_eq!(expired.header("www-authenticate"), "Bearer");
    assert_eq!(with(&format!("Bearer {}", token(&other, 60))).refusal(), (401, "bad_token".into()));
    assert_eq!(with("Bearer x.y.z").refusal(), (401, "bad_token".into()));
    assert_eq!(with("Basic eDp5").refusal(), (401, "no_token".into()));
    assert_eq!(send("GET", &url, &[], b"").refusal(), (401, "no_token".into()));
}

#[test]
fn tokens_with_lifetime_zero_are_expired() {
    let server = start_with(json!({"token_seconds": 0}));
    let token = login(&server, "operator@example.com", "operator pw").json()["token"].as_str().unwrap().to_owned();
    let url = format!("{}/resources/list", server.api_url());
    let response = send("GET", &url, &[("authorization", &format!("Bearer {token}"))], b"");
    assert_eq!(response.refusal(), (401, "token_expired".into()));
}

#[test]
fn a_resource_is_sealed_to_user_and_hardware() {
    let server = start();
    let part = get(&server, "operator", "/models", "yolo.onnx", HARDWARE);
    assert_eq!(opened(&part, 1, "operator", SealedKind::SmallPart), b"small part");
    let deep = get(&server, "bound", "/models/v2", "Deep.bin", HARDWARE);
    assert_eq!(opened(&deep, 4, "bound", SealedKind::SmallPart), b"deep");
    for root in ["", "/"] {
        let cdn = get(&server, "operator", root, "cdn.yaml", HARDWARE);
        let yaml = String::from_utf8(opened(&cdn, 1, "operator", SealedKind::Cdn)).unwrap();
        assert!(yaml.contains(&format!("host: \"{}\"", server.s3_url())), "{yaml}");
    }
}

#[test]
fn a_refused_resource_has_a_reason() {
    let server = start();
    let refusal = |user, folder, file, hardware| get(&server, user, folder, file, hardware).refusal();
    let other = "0".repeat(64);
    assert_eq!(refusal("operator", "/models", "none", HARDWARE), (404, "not_found".into()));
    assert_eq!(refusal("operator", "", "models", HARDWARE), (404, "not_found".into()));
    assert_eq!(refusal("operator", "/models", "../top.txt", HARDWARE), (400, "bad_request".into()));
    assert_eq!(refusal("operator", "/models/%2e%2e", "top.txt", HARDWARE), (400, "bad_request".into()));
    assert_eq!(refusal("operator", "", "top.txt", "a1"), (400, "bad_request".into()));
    assert_eq!(refusal("bound", "", "top.txt", &other), (409, "hardware_mismatch".into()));
    assert_eq!(refusal("stranger", "", "top.txt", HARDWARE), (403, "role".into()));
    let body = json!({"fileName": "top.txt", "hardware": HARDWARE, "password": "guess"}).to_string();
    let response = call(&server, "operator", "POST", "/resources/get", body.as_bytes());
    assert_eq!(response.refusal(), (403, "password_mismatch".into()));
}

#[test]
fn an_upload_is_listed_and_delivered() {
    let seed = seed();
    let server = DevServer::start(Config::seeded(seed.path())).unwrap();
    assert_eq!(upload(&server, "operator", "/models", "data", "new.bin", b"x").refusal(), (403, "role".into()));
    let receipt = upload(&server, "uploader", "/models/v3", "data", "new.bin", b"new");
    assert_eq!((receipt.status, receipt.json()["size"].as_u64()), (200, Some(3)), "{}", receipt.text());
    let fetched = get(&server, "uploader", "/models/v3", "new.bin", HARDWARE);
    assert_eq!(opened(&fetched, 2, "uploader", SealedKind::SmallPart), b"new");
    let listed = call(&server, "operator", "GET", "/resources/list/models/v3", b"").json();
    assert_eq!(listed, json!([receipt.json()]));
    assert_eq!(upload(&server, "uploader", "", "data", "top.txt", b"changed").status, 200);
    assert_eq!(std::fs::read(seed.path().join("resources/top.txt")).unwrap(), b"top");
    assert!(!seed.path().join("resources/models/v3").exists());
    assert!(!seed.path().join("resources/cdn.yaml").exists());
}

#[test]
fn an_incomplete_upload_changes_nothing() {
    let server = start();
    assert_eq!(upload(&server, "uploader", "", "file", "top.txt", b"x").refusal(), (400, "bad_request".into()));
    assert_eq!(upload(&server, "uploader", "", "data", "a b", b"x").refusal(), (400, "bad_request".into()));
    assert_eq!(upload(&server, "uploader", "", "data", "models", b"x").refusal(), (409, "is_a_folder".into()));
    let long = vec![0; 16 * 1024 * 1024 + 1];
    assert_eq!(upload(&server, "uploader", "", "data", "top.txt", &long).refusal(), (413, "too_large".into()));
    let token = server.token("uploader@example.com", 60).unwrap();
    let headers =
        [("authorization", &*format!("Bearer {token}")), ("content-type", "multipart/form-data; boundary=cut")];
    let cut = b"--cut\r\nContent-Disposition: form-data; name=\"data\"; filename=\"top.txt\"\r\n\r\nhalf";
    let response = send("POST", &format!("{}/resources", server.api_url()), &headers, cut);
    assert_eq!(response.refusal(), (400, "bad_body".into()));
    assert_eq!(std::fs::read(server.resources_dir().join("top.txt")).unwrap(), b"top");
}

#[test]
fn a_list_contains_names_sizes_and_digests() {
    let server = start();
    let list = |path: &str| call(&server, "operator", "GET", path, b"").json();
    let sha256 = sha256(b"top");
    assert_eq!(list("/resources/list?search=TOP"), json!([{"name": "top.txt", "size": 3, "sha256": sha256}]));
    let names = |listed: Value| listed.as_array().unwrap().iter().map(|row| row["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(list("/resources/list/")), ["cdn.yaml", "top.txt"]);
    assert_eq!(names(list("/resources/list/models")), ["yolo.onnx"]);
    assert_eq!(names(list("/resources/list/models/v2/?search=deep")), ["Deep.bin"]);
    assert_eq!(list("/resources/list/none"), json!([]));
    assert_eq!(call(&server, "stranger", "GET", "/resources/list", b"").refusal(), (403, "role".into()));
}

#[test]
fn the_fragment_has_three_forms() {
    let path = "/binary-split/key-fragment";
    let text = call(&start(), "operator", "GET", path, b"");
    assert_eq!((text.status, text.body.as_slice()), (200, &b"AZ-FRAG-1TEST\n"[..]));
    assert!(text.header("content-type").starts_with("text/plain"));
    let raw = call(&start_with(json!({"fragment_form": "raw"})), "operator", "GET", path, b"");
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    let server = start_with(json!({"fragment_form": "sealed", "seal_cost": {"memory_kib": 64, "passes": 1}}));
    let sealed = call(&server, "bound", "GET", path, b"");
    assert_eq!(opened(&sealed, 4, "bound", SealedKind::Fragment), b"AZ-FRAG-1TEST\n");
    assert_eq!(call(&server, "operator", "GET", path, b"").refusal(), (409, "hardware_unknown".into()));
}

#[test]
fn the_fragment_has_its_own_minimum_role() {
    let path = "/binary-split/key-fragment";
    for min_role in [json!("Validator"), json!(11), json!("11")] {
        let server = start_with(json!({"fragment_min_role": min_role}));
        assert_eq!(call(&server, "operator", "GET", path, b"").status, 403, "{min_role}");
        assert_eq!(call(&server, "bound", "GET", path, b"").status, 200);
    }
    let unknown = start_with(json!({"fragment_min_role": "Validatr"}));
    assert_eq!(call(&unknown, "bound", "GET", path, b"").status, 403);
    let empty = DevServer::start(Config::default()).unwrap();
    assert_eq!(call(&empty, "operator", "GET", path, b"").refusal(), (404, "not_found".into()));
}

#[test]
fn every_path_of_the_openapi_document_is_served() {
    let server = start();
    let served = send("GET", &format!("{}/openapi.json", server.api_url()), &[], b"").json();
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(served, document);
    for (path, calls) in document["paths"].as_object().unwrap() {
        for (method, described) in calls.as_object().unwrap() {
            let path = path.replace("{folder}", "models");
            let response = call(&server, "operator", &method.to_uppercase(), &path, b"");
            let status = response.status.to_string();
            assert!(described["responses"].get(&status).is_some(), "{method} {path}: {status}");
        }
    }
    assert_eq!(call(&server, "operator", "GET", "/nothing", b"").refusal(), (404, "no_such_call".into()));
    assert_eq!(call(&server, "operator", "DELETE", "/login", b"").refusal(), (405, "method_not_allowed".into()));
    assert_eq!(send("GET", &format!("{}/healthz", server.api_url()), &[], b"").status, 200);
}

#[test]
fn requests_are_recorded_without_their_query() {
    let server = start();
    call(&server, "operator", "GET", "/resources/list?search=secret", b"");
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((request.server, request.path.as_str(), request.status), ("api", "/resources/list", 200));
}
