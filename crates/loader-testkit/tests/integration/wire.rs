//! A seed, an HTTP client without redirects and retries, and an independent
//! implementation of SigV4.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use hmac::{Hmac, KeyInit, Mac};
use loader_testkit::{Config, DevServer, Settings, hex, write_below};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};

pub const HARDWARE: &str = "a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4";
pub const BIG: &str = "models/yolo.onnx.big";
pub const BIG_LEN: usize = 300_000;

/// Creates a seed with users of every role, small resources, one object and a fragment.
pub fn seed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let user = |n: u8, name: &str, role: Value| {
        json!({"id": format!("00000000-0000-4000-8000-0000000000{n:02}"), "email": format!("{name}@example.com"),
               "password": format!("{name} pw"), "role": role})
    };
    let mut bound = user(4, "bound", json!(["Guest", 20]));
    bound["hardware"] = json!(HARDWARE);
    let mut locked = user(5, "locked", json!("Operator"));
    locked["locked"] = json!(true);
    let users = json!([
        user(1, "operator", json!("Operator")),
        user(2, "uploader", json!(50)),
        user(3, "stranger", json!("Archivist")),
        bound,
        locked
    ]);
    let users = users.to_string();
    let files: [(&str, &[u8]); 6] = [
        ("users.json", users.as_bytes()),
        ("resources/top.txt", b"top"),
        ("resources/models/yolo.onnx", b"small part"),
        ("resources/models/v2/Deep.bin", b"deep"),
        ("key-fragment", b"AZ-FRAG-1TEST\n"),
        ("devserver.json", br#"{"seal_cost":{"memory_kib":64,"passes":1}}"#),
    ];
    for (name, content) in files {
        write_below(&dir.path().join(name), content);
    }
    write_below(&dir.path().join(format!("cdn/{BIG}")), big());
    dir
}

pub fn big() -> Vec<u8> {
    (0..BIG_LEN).map(|i| (i % 251) as u8).collect()
}

/// Starts a server with the seed, and with `settings` instead of its `devserver.json`.
pub fn start_with(settings: Value) -> DevServer {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    DevServer::start(Config { settings: Some(settings), ..Config::seeded(seed().path()) }).unwrap()
}

pub fn start() -> DevServer {
    DevServer::start(Config::seeded(seed().path())).unwrap()
}

/// A response with its complete body.
#[derive(Debug)]
pub struct TestResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl TestResponse {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the status and the `error` of a JSON response.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> TestResponse {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.build().into();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = if body.is_empty() && method != "POST" && method != "PUT" {
        agent.run(request.body(()).unwrap()).unwrap()
    } else {
        agent.run(request.body(body).unwrap()).unwrap()
    };
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    TestResponse { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

/// Calls the API as the user `name` of the seed.
pub fn call(server: &DevServer, name: &str, method: &str, path: &str, body: &[u8]) -> TestResponse {
    let token = server.token(&format!("{name}@example.com"), 60).unwrap();
    let bearer = format!("Bearer {token}");
    send(method, &format!("{}{path}", server.api_url()), &[("authorization", &bearer)], body)
}

/// S3 client that signs requests in their headers (SigV4).
pub struct SigningClient<'a> {
    pub server: &'a DevServer,
    pub key: &'a str,
    pub secret: &'a str,
    pub at: SystemTime,
}

impl<'a> SigningClient<'a> {
    pub fn downloader(server: &'a DevServer) -> Self {
        let cdn = server.cdn();
        let (key, secret) = (&cdn.downloader_access_key, &cdn.downloader_access_secret);
        Self { server, key, secret, at: SystemTime::now() }
    }

    pub fn uploader(server: &'a DevServer) -> Self {
        let cdn = server.cdn();
        let key = cdn.uploader_access_key.as_deref().unwrap();
        let secret = cdn.uploader_access_secret.as_deref().unwrap();
        Self { server, key, secret, at: SystemTime::now() }
    }

    pub fn get(&self, key: &str, headers: &[(&str, &str)]) -> TestResponse {
        self.send("GET", key, "", headers, b"")
    }

    pub fn send(&self, method: &str, key: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> TestResponse {
        let host = self.server.s3_url().strip_prefix("http://").unwrap();
        let path = format!("/{}/{key}", self.server.urls().bucket);
        let (date, digest) = (self.date(), hex(&Sha256::digest(body)));
        let mut all = vec![("host", host), ("x-amz-content-sha256", &digest), ("x-amz-date", &date)];
        all.extend(headers);
        all.sort();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let tag = self.tag(&format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={tag}",
            self.key,
            self.scope()
        );
        all.push(("authorization", &authorization));
        let mark = if query.is_empty() { "" } else { "?" };
        send(method, &format!("{}{path}{mark}{query}", self.server.s3_url()), &all, body)
    }

    /// Returns the URL of a presigned GET.
    pub fn presigned(&self, key: &str, seconds: u32) -> String {
        let host = self.server.s3_url().strip_prefix("http://").unwrap();
        let path = format!("/{}/{key}", self.server.urls().bucket);
        let credential = format!("{}/{}", self.key, self.scope()).replace('/', "%2F");
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
            self.date()
        );
        let tag = self.tag(&format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"));
        format!("{}{path}?{query}&X-Amz-Signature={tag}", self.server.s3_url())
    }

    fn date(&self) -> String {
        humantime::format_rfc3339_seconds(self.at).to_string().replace(['-', ':'], "")
    }

    fn scope(&self) -> String {
        format!("{}/us-east-1/s3/aws4_request", &self.date()[..8])
    }

    fn tag(&self, canonical: &str) -> String {
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.date(), self.scope(), hex(&Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.secret).into_bytes();
        let key = self.scope().split('/').fold(first, |key, part| hmac(&key, part));
        hex(&hmac(&key, &to_sign))
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
}
