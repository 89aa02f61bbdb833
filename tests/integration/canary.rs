//! Secrets leave a stage only through its standard output or a socket: checked from
//! outside, with the processes of an unlock and of a model.

mod keys;
mod memory;
mod running;

use loader_seal::Key;
use loader_testkit::read_request;
use loader_testkit::test_dir::TestDir;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tests::site::{PASSWORD, Site};
use tests::{Finished, bash, run, say, write_secret};

const DEVICE_SECRET: &str = "5ec4e7d15c0de000000000000000000000000000000000000000000000ca4a47";
const CDN_SECRET: &str = "secret of the downloader";
const UPLOADER_SECRET: &str = "secret of the uploader";
const WRONG_PASSWORD: &str = "not the password";
/// Common prefixes of all tokens (`{"alg":`), fragments and keys. They are long enough not to
/// occur in sealed bytes by chance.
const TOKEN: &str = "eyJhbGciOi";
const FRAGMENT: &str = "AZ-FRAG-1Q";
const KEY: &str = "AZ-SECRET-KEY-1Q";

/// Texts to search for, one for each secret.
const SECRETS: [&str; 8] = [PASSWORD, WRONG_PASSWORD, DEVICE_SECRET, CDN_SECRET, UPLOADER_SECRET, TOKEN, FRAGMENT, KEY];

/// A site, and a separate directory for everything that the stages write.
struct Watched {
    site: Site,
    dir: TestDir,
}

impl Watched {
    fn new(site: Site) -> Self {
        let dir = TestDir::new();
        for name in ["run", "tmp", "cache", "home", "traces"] {
            fs::create_dir(dir.path(name)).unwrap();
        }
        write_secret(&site.path("device-secret"), DEVICE_SECRET);
        write_secret(&site.path("other.key"), Key::from_bytes([0x2f; 32]).to_text());
        Self { site, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// Sets the environment of `command` so that it writes only to this directory.
    fn configure(&self, command: &mut Command) {
        self.site.configure(command);
        command
            .env("AZ_RUN_DIR", self.path("run"))
            .env("AZ_EVENTS_FILE", self.path("events.jsonl"))
            .env("AZ_CACHE_DIR", self.path("cache"))
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("home"))
            .env("TRACES", self.path("traces"))
            .env("AZ_RETRIES", "0")
            .current_dir(self.dir.root());
    }

    /// Runs `script`, in which `t STAGE …` runs a stage, under strace if possible.
    /// Standard error is a file, so that every pipe is a standard output.
    fn run(&self, script: &str, settings: &[(&str, &Path)], input: &[u8]) -> Finished {
        let strace = "strace -f -qq -v -y -s 1000000 \
                      -e trace=execve,write,writev,pwrite64,pwritev,sendto,sendmsg -o \"$TRACES/$1\"";
        let tracer = if can_trace() { strace } else { "" };
        let mut command = bash(&format!("t() {{ {tracer} \"$@\"; }}; {script}"));
        self.configure(&mut command);
        command.envs(settings.iter().copied());
        command.stderr(fs::File::create(self.path("stderr")).unwrap());
        let finished = run(command, input);
        Finished { stderr: fs::read_to_string(self.path("stderr")).unwrap(), ..finished }
    }

    /// Writes a copy of the secret file `from` with a different last letter.
    fn damage(&self, name: &str, from: &str) {
        let text = fs::read_to_string(self.site.path(from)).unwrap();
        let line = text.lines().find(|line| line.starts_with("AZ-")).unwrap();
        let last = if line.ends_with('Q') { 'P' } else { 'Q' };
        write_secret(&self.site.path(name), format!("{}{last}", &line[..line.len() - 1]));
    }

    /// Checks everything that was written, and deletes the traces.
    fn check(&self, place: &str) {
        for path in files(self.dir.root()) {
            let content = fs::read(&path).unwrap();
            let name = path.strip_prefix(self.dir.root()).unwrap();
            if name.starts_with("traces") {
                let stage = name.file_name().unwrap().to_str().unwrap();
                let root = self.site.root().to_str().unwrap();
                check_trace(place, stage, root, &String::from_utf8_lossy(&content));
                fs::remove_file(&path).unwrap();
            } else {
                check_none(&format!("{place}: {}", name.display()), &content);
            }
        }
    }
}

/// Returns the secrets that this stage may write to its output: a pipe, or a file of the device.
fn output_of(stage: &str) -> &'static [&'static str] {
    match stage {
        "az-login" => &[TOKEN],
        "az-fetch" => &[FRAGMENT],
        "az-join" => &[KEY],
        "az-split" => &[FRAGMENT],
        "az-cdn-creds" => &[CDN_SECRET, UPLOADER_SECRET],
        _ => &[],
    }
}

/// Returns the secrets that this stage may send to the server.
fn told_by(stage: &str) -> &'static [&'static str] {
    match stage {
        "az-login" => &[PASSWORD, WRONG_PASSWORD],
        "az-fetch" | "az-cdn-creds" | "az-push" => &[PASSWORD, WRONG_PASSWORD, TOKEN],
        _ => &[],
    }
}

/// Checks a trace: each line is a system call with the paths of its descriptors. The
/// device's own files are in `root`.
fn check_trace(place: &str, stage: &str, root: &str, trace: &str) {
    assert!(trace.contains("execve("), "{place}: no trace of {stage}");
    for call in trace.lines() {
        let (_, call) = call.trim_start().split_once(char::is_whitespace).unwrap();
        let call = call.trim_start();
        let target = call.split_once('<').map_or("", |(_, target)| target);
        let allowed = match call.split('(').next().unwrap() {
            "write" | "writev" if target.starts_with("pipe:") || target.starts_with(root) => output_of(stage),
            "write" | "writev" | "sendto" | "sendmsg" if target.starts_with("socket:") => told_by(stage),
            _ => &[],
        };
        for secret in SECRETS.into_iter().filter(|secret| !allowed.contains(secret)) {
            let head: String = call.chars().take(60).collect();
            assert!(!call.contains(secret), "{place}: {stage} gives away {secret}: {head}");
        }
    }
}

fn check_none(place: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{place} holds {secret}");
    }
}

/// Returns all files below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns true if strace is installed and allowed to trace.
fn can_trace() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let output = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        let can = output.is_ok_and(|output| output.status.success());
        if !can {
            say("skipped: strace is required to trace system calls");
        }
        can
    })
}

const UNLOCK: &str = r#"t az-login | t az-fetch key-fragment | t az-join - "$DEVICE_FRAGMENT" |
    t az-decrypt --key-file - "$IMAGES""#;

#[test]
fn an_unlock_leaks_no_secret() {
    for site in [Site::start(), Site::with_sealed_fragment()] {
        let watched = Watched::new(site);
        let finished = watched.run(UNLOCK, &[], b"");
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.stdout == fs::read(watched.site.path("images.tar")).unwrap(), "other bytes");
        assert!(files(&watched.path("run")).len() >= 4 && watched.path("events.jsonl").exists());
        for (stage, secret) in [("az-login", TOKEN), ("az-fetch", FRAGMENT), ("az-join", KEY)] {
            let trace = fs::read_to_string(watched.path("traces").join(stage)).unwrap_or_default();
            assert!(!can_trace() || trace.contains(secret), "the trace of {stage} does not show its output");
        }
        watched.check("unlock");
    }
}

#[test]
fn a_device_secret_is_never_sent() {
    let watched = Watched::new(Site::start());
    let secret = watched.site.path("device-secret");
    let finished = watched.run(UNLOCK, &[("AZ_DEVICE_SECRET_FILE", &secret)], b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    watched.check("unlock with a device secret");
    // A device secret that does not match the one the server sealed to.
    let watched = Watched::new(Site::with_sealed_fragment());
    let secret = watched.site.path("device-secret");
    let finished = watched.run(UNLOCK, &[("AZ_DEVICE_SECRET_FILE", &secret)], b"");
    assert!(finished.stderr.contains("\"wrong_device\""), "{}", finished.stderr);
    watched.check("a wrong device secret");
}

#[test]
fn a_model_leaks_no_secret() {
    let watched = Watched::new(Site::start());
    let finished = watched.run("t az-login", &[], b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    watched.check("login");
    let token = finished.stdout;
    let finished = watched.run("t az-cdn-creds", &[], &token);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    watched.check("credentials of the CDN");
    write_secret(&watched.site.path("cdn"), finished.text());
    assert!(finished.text().contains(CDN_SECRET));
    let key = watched.site.path("key");
    let line = r#"t az-fetch --cdn-file "$SITE/cdn" models/yolo.onnx | t az-decrypt --key-file "$OPENS""#;
    // From the CDN, from the cache, and with a wrong key.
    for (key, status) in [(&key, 0), (&key, 0), (&watched.site.path("other.key"), 79)] {
        let finished = watched.run(line, &[("OPENS", key)], &token);
        assert_eq!(finished.status, status, "{}", finished.stderr);
        watched.check("model");
    }
    assert!(!files(&watched.path("cache")).is_empty());
}

#[test]
fn a_failure_leaks_no_secret() {
    let watched = Watched::new(Site::start());
    let site = &watched.site;
    watched.damage("damaged.key", "key");
    watched.damage("damaged.frag", "device.frag");
    let broken = fs::read_to_string(site.path("credentials.json")).unwrap();
    write_secret(&site.path("broken.json"), broken.trim_end().strip_suffix('}').unwrap());
    write_secret(&site.path("broken-cdn.json"), format!(r#"{{"downloader_access_secret":"{CDN_SECRET}","host":5"#));
    write_secret(&site.path("damaged-secret"), format!("{DEVICE_SECRET}x"));
    let key_of_others = r#"t az-decrypt --key-file "$SITE/other.key" "$IMAGES""#;
    for (what, line, settings, code) in [
        ("password", UNLOCK, vec![("AZ_CREDENTIALS_FILE", site.path("wrong.json"))], "not_permitted"),
        ("fragment", UNLOCK, vec![("DEVICE_FRAGMENT", site.path("foreign.frag"))], "wrong_fragment"),
        ("kind of file", UNLOCK, vec![("DEVICE_FRAGMENT", site.path("key"))], "malformed"),
        (
            "token",
            r#"t az-fetch key-fragment < "$SITE/expired.jwt""#,
            vec![("AZ_CREDENTIALS_FILE", site.path("wrong.json"))],
            "not_permitted",
        ),
        ("secret for a token", r#"t az-fetch key-fragment < "$SITE/key""#, vec![], "malformed"),
        (
            "secret for the CDN",
            r#"t az-fetch --cdn-file "$SITE/key" models/yolo.onnx < "$SITE/jwt""#,
            vec![],
            "malformed",
        ),
        ("token for a key", r#"t az-decrypt --key-file "$SITE/jwt" "$IMAGES""#, vec![], "malformed"),
        ("key", key_of_others, vec![], "wrong_key"),
        ("letter in a key", r#"t az-decrypt --key-file "$SITE/damaged.key" "$IMAGES""#, vec![], "malformed"),
        ("letter in a key to cut", r#"t az-split < "$SITE/damaged.key""#, vec![], "malformed"),
        ("letter in a fragment", UNLOCK, vec![("DEVICE_FRAGMENT", site.path("damaged.frag"))], "malformed"),
        ("bracket in credentials", "t az-login", vec![("AZ_CREDENTIALS_FILE", site.path("broken.json"))], "malformed"),
        (
            "bracket in the CDN's credentials",
            r#"t az-fetch --cdn-file "$SITE/broken-cdn.json" models/yolo.onnx < "$SITE/jwt""#,
            vec![],
            "malformed",
        ),
        (
            "digit in a device secret",
            r#"t az-fetch --device-secret-file "$SITE/damaged-secret" key-fragment < "$SITE/jwt""#,
            vec![],
            "malformed",
        ),
    ] {
        let settings: Vec<_> = settings.iter().map(|(name, path)| (*name, path.as_path())).collect();
        let finished = watched.run(line, &settings, b"");
        assert_ne!(finished.status, 0, "{what}");
        assert!(finished.stderr.contains(&format!("\"{code}\"")), "{what}: {}", finished.stderr);
        watched.check(&format!("a wrong {what}"));
    }
}

/// Starts a server that responds to each request with 500 and the text of the request. It
/// ends with the test.
fn echoing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let text = read_request(&mut stream).replace("\r\n", " ");
            let head = "HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{text}", text.len());
        }
    });
    url
}

#[test]
fn a_server_that_repeats_the_request_leaks_no_secret() {
    let watched = Watched::new(Site::start());
    let url = echoing_server();
    for line in [
        "t az-login",
        r#"t az-fetch key-fragment < "$SITE/jwt""#,
        r#"t az-cdn-creds < "$SITE/jwt""#,
        r#"t az-fetch --cdn-file "$SITE/cdn.json" models/yolo.onnx < "$SITE/jwt""#,
    ] {
        let finished = watched.run(line, &[("AZ_API_URL", Path::new(&url))], b"");
        assert_ne!(finished.status, 0, "{line}");
        assert!(finished.stderr.contains("500"), "{line}: {}", finished.stderr);
        watched.check(line);
    }
}
