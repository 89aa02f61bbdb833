//! The az-devserver binary: printed URLs, exit and log.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_az-devserver");

fn spawn(args: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let mut child = Command::new(BINARY)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (child, stdout, line)
}

fn get(url: &str) -> u16 {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    ureq::Agent::from(config).get(url).call().map_or(0, |response| response.status().as_u16())
}

#[test]
fn it_prints_its_urls_and_stops_at_the_end_of_stdin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("urls.json");
    let (mut child, mut stdout, line) = spawn(&["--stop-with-stdin", "--urls-file", file.to_str().unwrap()]);
    let urls: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), line);
    assert_eq!((urls["bucket"].as_str(), urls["pid"].as_u64()), (Some("azaion"), Some(child.id().into())));
    let api = urls["api"].as_str().unwrap();
    assert_eq!(get(&format!("{api}/healthz")), 200);
    assert_eq!(get(urls["s3"].as_str().unwrap()), 403);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(get(&format!("{api}/healthz")), 0);
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let (mut child, _stdout, _line) = spawn(&[]);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn the_log_has_no_query_and_counts_bytes() {
    let (mut child, _stdout, line) = spawn(&["--stop-with-stdin", "--log"]);
    let urls: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(get(&format!("{}/healthz?token=secret", urls["api"].as_str().unwrap())), 200);
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let entry: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(
        (entry["path"].as_str(), entry["status"].as_u64(), entry["bytes"].as_u64()),
        (Some("/healthz"), Some(200), Some(3))
    );
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn invalid_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("users.json"), "[{]").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--bind", "0.0.0.0"], 78, "not a loopback address"),
        (&["--seed", "/nonexistent-seed"], 78, "/nonexistent-seed"),
        (&["--seed", dir.path().to_str().unwrap()], 78, "users.json: line 1"),
        (&["--bucket", "a/b"], 78, "not a valid bucket name"),
        (&["--port", &port], 69, &port),
    ];
    for (args, status, words) in cases {
        let output = Command::new(BINARY).args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(status), 1), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}
