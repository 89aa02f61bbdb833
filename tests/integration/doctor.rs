//! az-doctor against real servers, files and engines: each check fails, with its exit
//! status, only for its own cause.

use loader_testkit::{Config, DevServer, TestCa, Tls, read_head};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tests::site::{PASSWORD, Site, has_engine};
use tests::{Finished, bash, filter, run, say, set_mode};

/// Findings of one az-doctor run.
struct DoctorRun {
    finished: Finished,
    report: Value,
}

impl DoctorRun {
    #[track_caller]
    fn of(mut command: Command) -> Self {
        command.env("AZ_RETRIES", "0");
        let finished = run(command, b"");
        let report = serde_json::from_slice(&finished.stdout).unwrap_or_else(|_| panic!("{}", finished.stderr));
        let found = Self { finished, report };
        let exit = found.failed().first().map_or(0, |check| check["exit"].as_i64().unwrap());
        assert_eq!(i64::from(found.finished.status), exit, "{}", found.finished.stderr);
        let told = format!("{}{}", found.report, found.finished.stderr);
        for secret in [PASSWORD, "AZ-FRAG-1", "AZ-SECRET-KEY-1", "secret of the", "\"token\"", "eyJ"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        found
    }

    fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    fn failed(&self) -> Vec<&Value> {
        self.report["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail").collect()
    }

    /// Asserts that only the check `name` failed, with this status and `words`.
    #[track_caller]
    fn only(&self, name: &str, exit: i32, words: &str) {
        let failed = self.failed();
        assert!(failed.len() == 1 && failed[0]["name"] == name, "{}", self.report);
        let text = failed[0].to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!((failed[0]["exit"].as_i64(), self.finished.status), (Some(exit.into()), exit), "{text}");
        assert_eq!(self.report["verdict"], "fail");
    }

    #[track_caller]
    fn warns(&self, name: &str, words: &str) {
        let check = self.check(name);
        assert!(check["status"] == "warn" && check.to_string().contains(words), "{check}");
        assert_eq!((self.finished.status, &self.report["verdict"]), (0, &Value::from("warn")));
    }
}

/// Returns a command for az-doctor on the device of `site`, without the engine check.
fn doctor(site: &Site, args: &[&str]) -> Command {
    let mut command = filter("az-doctor");
    site.configure(&mut command);
    command.current_dir(site.root()).args(args);
    let given = |flag: &str| args.contains(&flag);
    if !given("--only") && !given("--skip") {
        command.args(["--skip", "engine,space"]);
    }
    if !args.iter().any(|arg| arg.ends_with(".enc")) {
        command.arg("images.enc");
    }
    for (flag, file) in [("--fragment-file", "device.frag"), ("--cdn-file", "cdn.json"), ("--run-dir", "run")] {
        if !given(flag) {
            command.args([flag, file]);
        }
    }
    command
}

fn found(site: &Site, args: &[&str]) -> DoctorRun {
    DoctorRun::of(doctor(site, args))
}

fn listing(dir: &Path) -> Vec<String> {
    let mut command = bash("find . | sort");
    command.current_dir(dir);
    run(command, b"").text().lines().map(str::to_owned).collect()
}

#[test]
fn a_healthy_device_passes_and_is_not_changed() {
    let site = Site::start();
    let before = listing(site.root());
    let args =
        ["--key-file", "key", "--cache-dir", "cache", "--resource", "models/yolo.onnx", "--skip", "engine,space"];
    let found = found(&site, &args);
    assert_eq!((found.finished.status, &found.report["verdict"]), (0, &Value::from("ok")), "{}", found.report);
    for check in found.report["checks"].as_array().unwrap() {
        let skipped = ["device-secret", "card", "publisher"].iter().any(|name| check["name"] == *name);
        assert_eq!(check["status"], if skipped { "skipped" } else { "ok" }, "{check}");
        assert_eq!(check["hint"].is_string(), skipped, "{check}");
    }
    assert_eq!(found.check("login")["message"], "logged in with role Operator");
    assert_eq!(found.check("clock")["detail"]["seconds_ahead"], 0);
    assert_eq!(listing(site.root()), before, "something was made or removed");
    let puts = site.server().requests().into_iter().filter(|line| line.method != "HEAD" && line.method != "GET");
    assert_eq!(puts.map(|line| line.path).collect::<Vec<_>>(), ["/login"]);
}

#[test]
fn the_engine_and_its_disk_space() {
    let site = Site::start();
    let missing = found(&site, &["--host", "unix:///nonexistent/docker.sock", "--skip", "card"]);
    missing.only("engine", 69, "no container engine at /nonexistent/docker.sock");
    assert_eq!(missing.check("space")["status"], "skipped");
    found(&site, &["--only", "engine", "--host", "tcp://127.0.0.1:1"]).only("engine", 78, "only unix:// sockets");
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let healthy = found(&site, &["--only", "engine,space"]);
    assert_eq!(healthy.finished.status, 0, "{}", healthy.report);
    assert_eq!(healthy.check("space")["detail"]["needed"], fs::metadata(site.path("images.tar")).unwrap().len());
    // Header of an archive of four tebibytes.
    let mut huge = bash(
        "truncate -s 4T huge && az-encrypt --raw --key-file key huge 2>/dev/null | head -c 64K > huge.enc; rm huge",
    );
    huge.current_dir(site.root());
    run(huge, b"");
    let full = found(&site, &["--only", "engine,space", "huge.enc"]);
    match full.check("engine")["detail"]["store"].as_str() {
        Some("docker") => full.only("space", 74, "the archive has 4398046511104"),
        _ => full.warns("space", "the archive has 4398046511104"),
    }
}

#[test]
fn logins_that_are_refused() {
    let site = Site::start();
    found(&site, &["--credentials-file", "wrong.json"]).only("login", 77, "check email and password");
    found(&site, &["--credentials-file", "locked.json"]).only("login", 77, "account locked");
    found(&site, &["--credentials-file", "guest.json"]).warns("login", "role NONE");
}

#[test]
fn unreachable_servers() {
    let site = Site::start();
    let api = found(&site, &["--api-url", "http://127.0.0.1:1"]);
    api.only("api", 75, "127.0.0.1:1: connection refused");
    assert_eq!(api.check("login")["message"], "api failed");
    found(&site, &["--api-url", "http://192.0.2.1"]).only("api", 78, "--insecure-http");
    let cdn = fs::read_to_string(site.path("cdn.json")).unwrap();
    let with = |name: &str, from: &str, to: &str| {
        assert!(cdn.contains(from), "{cdn}");
        fs::write(site.path(name), cdn.replace(from, to)).unwrap();
        set_mode(&site.path(name), 0o600);
    };
    with("dead.json", site.server().s3_url(), "http://127.0.0.1:1");
    found(&site, &["--cdn-file", "dead.json"]).only("cdn", 69, "127.0.0.1:1: connection refused");
    with("key.json", "DOWNLOADER", "NOBODY");
    found(&site, &["--cdn-file", "key.json"]).only("cdn", 77, "HTTP 403, NotSignedUp");
    with("signature.json", "secret of the downloader", "secret of the neighbour");
    found(&site, &["--cdn-file", "signature.json"]).only("cdn", 77, "SignatureDoesNotMatch");
    with("bucket.json", "\"azaion\"", "\"elsewhere\"");
    found(&site, &["--cdn-file", "bucket.json"]).only("cdn", 66, "NoSuchBucket");
    found(&site, &["--resource", "models/none"]).only("cdn", 66, "models/none.big does not exist");
}

#[test]
fn a_certificate_that_is_not_trusted_is_named() {
    let ca = TestCa::new().unwrap();
    let tls = Tls { server: ca.server(&["localhost"], 2099).unwrap(), client_ca: None };
    let server = DevServer::start(Config { tls: Some(tls), ..Config::default() }).unwrap();
    let site = Site::start();
    let url = server.api_url().replace("127.0.0.1", "localhost");
    found(&site, &["--only", "api", "--api-url", &url]).only(
        "api",
        78,
        "name the certificate authority with --ca-file",
    );
    fs::write(site.path("ca.pem"), ca.pem()).unwrap();
    let trusted = found(&site, &["--only", "api", "--api-url", &url, "--ca-file", "ca.pem"]);
    assert_eq!(trusted.finished.status, 0, "{}", trusted.report);
    let other = url.replace("localhost", "127.0.0.1");
    found(&site, &["--only", "api", "--api-url", &other, "--ca-file", "ca.pem"]).only("api", 78, "certificate");
}

#[test]
fn secret_files_that_are_readable_missing_or_of_another_kind() {
    let site = Site::start();
    fs::copy(site.path("device.frag"), site.path("secret")).unwrap();
    fs::write(site.path("secret"), "a0".repeat(32)).unwrap();
    for (flag, file, check) in [
        ("--credentials-file", "credentials.json", "credentials"),
        ("--fragment-file", "device.frag", "fragment"),
        ("--key-file", "key", "key"),
        ("--device-secret-file", "secret", "device-secret"),
        ("--cdn-file", "cdn.json", "cdn"),
    ] {
        let path = site.path(file);
        set_mode(&path, 0o640);
        found(&site, &[flag, file]).only(check, 78, "chmod 600");
        let insisted = found(&site, &[flag, file, "--insecure-perms"]);
        assert_eq!(insisted.finished.status, 0, "{}", insisted.report);
        set_mode(&path, 0o600);
        found(&site, &[flag, "none"]).only(check, 66, "none: no such file");
        found(&site, &[flag, "images.tar"]).only(check, 78, "chmod 600");
        // A hardware id has the form of a device secret, but not of the other secrets.
        let other = found(&site, &[flag, "hwid"]);
        let names: Vec<_> = other.failed().iter().map(|failed| failed["name"].clone()).collect();
        assert_eq!(names, if check == "device-secret" { vec![] } else { vec![check] }, "{}", other.report);
    }
    found(&site, &["--credentials-file", "hwid"]).only("credentials", 65, "the credentials are not");
    // Checks that depend on a failed file are skipped, not failed.
    let missing = found(&site, &["--credentials-file", "none"]);
    assert_eq!(missing.check("login")["message"], "credentials failed");
}

#[test]
fn archives_that_do_not_open() {
    let site = Site::start();
    let sealed = fs::read(site.path("images.enc")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(site.path(name), bytes).unwrap();
    put("cut.enc", &sealed[..sealed.len() - 1]);
    put("head.enc", &sealed[..100]);
    put("long.enc", &[&sealed[..], b"more"].concat());
    put("plain.enc", &fs::read(site.path("images.tar")).unwrap());
    found(&site, &["cut.enc"]).only("archive", 65, "its header announces");
    found(&site, &["long.enc"]).only("archive", 65, "trailing");
    found(&site, &["head.enc"]).only("archive", 65, "truncated");
    found(&site, &["plain.enc"]).only("archive", 65, "not_sealed");
    found(&site, &["none.enc"]).only("archive", 66, "none.enc: no such file");
    found(&site, &["--fragment-file", "foreign.frag"]).only("archive-key", 79, "wrong_fragment");
    let other = bash("mkdir other && az-split --new-key --output-dir other && az-join other/*.frag -o other.key");
    let mut other = other;
    other.current_dir(site.root());
    assert_eq!(run(other, b"").status, 0);
    found(&site, &["--key-file", "other.key"]).only("archive-key", 79, "wrong_key");
    // A key file does not help an unlock, which joins the key from fragments.
    found(&site, &["--key-file", "key", "--fragment-file", "foreign.frag"]).only("archive-key", 79, "wrong_fragment");
    put("raw.frag", b"\xff\x80\0\x01");
    set_mode(&site.path("raw.frag"), 0o600);
    found(&site, &["--fragment-file", "raw.frag"]).only("fragment", 65, "not text");
    put(".images.enc.rekey", b"");
    found(&site, &["images.enc"]).only("archive", 65, "az-rekey --recover images.enc");
}

#[test]
fn hardware_without_an_id_or_with_another_id() {
    let site = Site::start();
    let put = |path: &str, text: &str| {
        let path = site.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let here = |args: &[&str]| {
        let mut command = doctor(&site, &[&["--sysroot", "root"], args].concat());
        command.env_remove("AZ_HWID_FILE");
        DoctorRun::of(command)
    };
    put("sys/class/dmi/id/board_serial", "To be filled by O.E.M.");
    put("etc/machine-id", "9b1f6c2e5d0a4f7e8c3b2a1908f7e6d5");
    here(&[]).only("hardware", 78, "placeholder");
    put("sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8052-b4c04f564231");
    let good = here(&[]);
    assert_eq!(good.check("hardware")["message"], "an id from 2 sources, strong: dmi-product-uuid");
    let mut enroll = bash("az-hwid --sysroot root --enroll > card");
    enroll.current_dir(site.root());
    assert_eq!(run(enroll, b"").status, 0);
    assert_eq!(here(&["--hwid-card", "card"]).check("card")["status"], "ok");
    put("sys/class/nvme/nvme0/serial", "S4EVNF0M812345P");
    here(&["--hwid-card", "card"]).only("card", 79, "nvme-serial is new");
    found(&site, &["--hwid-file", "jwt"]).only("hardware", 65, "hardware id");
}

#[test]
fn a_cache_with_leftovers_or_damage() {
    let site = Site::start();
    let fetch = || {
        let mut command = filter("az-fetch");
        site.configure(&mut command);
        command.current_dir(site.root()).args(["--token-file", "jwt", "--cdn-file", "cdn.json"]);
        command.args(["--cache-dir", "cache", "models/yolo.onnx"]);
        assert_eq!(run(command, b"").status, 0);
    };
    fetch();
    let cached = || found(&site, &["--cache-dir", "cache"]);
    assert_eq!(cached().check("cache-entries")["message"], "1 entries match their digests");
    let entry = site.path("cache/models/yolo.onnx.big");
    let mut bytes = fs::read(&entry).unwrap();
    bytes[1000] ^= 1;
    fs::write(&entry, bytes).unwrap();
    cached().only("cache-entries", 65, "models/yolo.onnx");
    fs::rename(&entry, site.path("cache/models/yolo.onnx.big.damaged")).unwrap();
    cached().warns("cache", "moved aside: models/yolo.onnx.big.damaged");
    fetch();
    assert_eq!(cached().check("cache")["status"], "ok");
    fs::write(site.path("cache/models/other.onnx.big.partial"), "the first bytes").unwrap();
    cached().warns("cache", "unfinished: models/other.onnx.big.partial");
    fs::remove_file(site.path("cache/models/other.onnx.big.partial")).unwrap();
    fs::remove_file(site.path("cache/models/yolo.onnx.small")).unwrap();
    cached().warns("cache-entries", "digest not readable: models/yolo.onnx");
    fs::write(site.path("file"), "").unwrap();
    found(&site, &["--cache-dir", "file"]).only("cache", 73, "not a directory");
}

#[test]
fn a_directory_without_space_or_permission() {
    let site = Site::start();
    fs::create_dir(site.path("small")).unwrap();
    found(&site, &["--run-dir", "device.frag"]).only("run-dir", 73, "not a directory");
    // Another user could create a symlink there: az-unlock refuses it too.
    fs::create_dir(site.path("shared")).unwrap();
    set_mode(&site.path("shared"), 0o777);
    std::os::unix::fs::symlink(site.root(), site.path("planted")).unwrap();
    for dir in ["shared", "planted"] {
        found(&site, &["--run-dir", dir]).only("run-dir", 73, "a symbolic link, or other users can write to it");
    }
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        say("skipped: no mount namespace for a full filesystem");
        return;
    }
    let mounted = |options: &str, then: &str| {
        let script = format!(
            "unshare -rm bash -c 'mount -t tmpfs -o {options} tmpfs small && {{ {then}; }} &&
            exec az-doctor --only run-dir --run-dir small/run'"
        );
        let mut command = bash(&script);
        command.current_dir(site.root());
        DoctorRun::of(command)
    };
    mounted("size=64k", "! cat /dev/zero > small/full 2>/dev/null").only("run-dir", 74, "0 bytes free");
    mounted("ro", "true").only("run-dir", 73, "read-only file system");
}

/// Starts an API whose clock is `ahead` seconds ahead of ours. It serves `count` requests.
fn api_with_clock(ahead: i64, count: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(count) {
            let mut stream = stream.unwrap();
            read_head(&mut stream);
            let off = Duration::from_secs(ahead.unsigned_abs());
            let now = SystemTime::now();
            let date = http_date(if ahead < 0 { now - off } else { now + off });
            let head =
                format!("HTTP/1.1 404 Not DoctorRun\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    url
}

fn http_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let output =
        Command::new("date").args(["-u", "-R", "-d", &format!("@{seconds}")]).env("LC_ALL", "C").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().replace("+0000", "GMT")
}

#[test]
fn a_clock_that_differs_from_the_servers() {
    let site = Site::start();
    let seen = |ahead| found(&site, &["--only", "clock", "--api-url", &api_with_clock(ahead, 1)]);
    seen(7200).only("clock", 78, "behind the api");
    seen(-7200).only("clock", 78, "ahead of the api");
    seen(300).warns("clock", "behind the api");
    let near = seen(20);
    assert!(near.check("clock")["status"] == "ok", "{}", near.report);
}

#[test]
fn a_check_selected_by_name_needs_its_input() {
    let site = Site::start();
    found(&site, &["--only", "card"]).only("card", 78, "no enrolment card given");
    let mut command = filter("az-doctor");
    command.args(["--skip", "hardware,engine,run-dir"]);
    let bare = DoctorRun::of(command);
    assert_eq!((bare.finished.status, &bare.report["verdict"]), (0, &Value::from("ok")));
}
