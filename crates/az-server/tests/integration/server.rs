//! A directory, commands that change it, and servers over it.

use loader_testkit::{Finished, test_dir::TestDir, write_secret};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use ureq::http::{HeaderMap, Request};

pub(crate) const HARDWARE: &str = "a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4";

/// A directory of files, with the state directory `state` in it.
pub(crate) struct Fleet {
    pub(crate) dir: TestDir,
}

impl Fleet {
    /// Creates a directory whose passwords cost little.
    pub(crate) fn new() -> Self {
        let dir = TestDir::new();
        std::fs::create_dir(dir.path("state")).unwrap();
        loader_testkit::set_mode(&dir.path("state"), 0o700);
        write_secret(&dir.path("state/server.json"), r#"{"argon2":{"memory_kib":64,"passes":1,"lanes":1}}"#);
        write_secret(&dir.path("hwid"), format!("{HARDWARE}\n"));
        write_secret(&dir.path("fragment"), "AZ-FRAG-1TEST\n");
        Self { dir }
    }

    /// Creates a directory with the operator `cam@example.com`, who is bound to [`HARDWARE`], and
    /// the uploader `ci@example.com`. The password is the name with ` pw`.
    pub(crate) fn with_users() -> Self {
        let fleet = Self::new();
        fleet.add("cam", &["--hardware-file", "hwid"]);
        fleet.add("ci", &["--role", "ResourceUploader"]);
        fleet
    }

    pub(crate) fn add(&self, name: &str, more: &[&str]) {
        write_secret(&self.path("password"), format!("{name} pw\n"));
        let email = format!("{name}@example.com");
        self.ok(&[&["user", "add", &email, "--password-file", "password"], more].concat());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_az-server"));
        command.args(args).current_dir(self.dir.root()).env_clear().env("AZ_SERVER_DIR", "state");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        loader_testkit::run(self.command(args), b"")
    }

    /// Runs a command that succeeds, and returns its output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let finished = self.run(args);
        assert_eq!(finished.status, 0, "{args:?}: {}", finished.stderr);
        String::from_utf8(finished.stdout).unwrap()
    }

    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        let args = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--audit-file", "audit"];
        let mut command = self.command(&[&args[..], more].concat());
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line:?}"));
        let url = |name: &str| ready[name].as_str().unwrap().to_owned();
        Server { child, url: url("api"), metrics: url("metrics") }
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A running server, killed on drop.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) metrics: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response with its complete body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the status and the `error` of a JSON response.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.build().into();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = if method == "POST" {
        agent.run(request.body(body).unwrap()).unwrap()
    } else {
        agent.run(request.body(()).unwrap()).unwrap()
    };
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

impl Server {
    pub(crate) fn login(&self, name: &str, password: &str) -> Answer {
        let body = json!({"email": format!("{name}@example.com"), "password": password}).to_string();
        send("POST", &format!("{}/login", self.url), &[], body.as_bytes())
    }

    /// Logs in with the password of [`Fleet::add`].
    #[track_caller]
    pub(crate) fn token(&self, name: &str) -> String {
        let answer = self.login(name, &format!("{name} pw"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn call(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        send(method, &format!("{}{path}", self.url), &[("authorization", &bearer)], body)
    }

    pub(crate) fn list(&self, token: &str) -> Answer {
        self.call(token, "GET", "/resources/list", b"")
    }

    pub(crate) fn fragment(&self, token: &str) -> Answer {
        self.call(token, "GET", "/binary-split/key-fragment", b"")
    }

    pub(crate) fn get(&self, token: &str, folder: &str, file: &str, hardware: &str, password: &str) -> Answer {
        let body = json!({"fileName": file, "hardware": hardware, "password": password}).to_string();
        self.call(token, "POST", &format!("/resources/get{folder}"), body.as_bytes())
    }

    pub(crate) fn upload(&self, token: &str, folder: &str, file: &str, content: &[u8]) -> Answer {
        let head = format!("--cut\r\nContent-Disposition: form-data; name=\"data\"; filename=\"{file}\"\r\n\r\n");
        let body = [head.as_bytes(), content, b"\r\n--cut--\r\n"].concat();
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=cut")];
        send("POST", &format!("{}/resources{folder}", self.url), &headers, &body)
    }

    pub(crate) fn metrics(&self) -> String {
        send("GET", &format!("{}/metrics", self.metrics), &[], b"").text()
    }
}

/// Returns the paths of all files below `dir`.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
