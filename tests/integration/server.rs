//! The page of `examples/server`: its commands, pasted, unlock an archive; its units are accepted
//! by systemd.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tests::site::Site;
use tests::{bash, package_dir, run, say, write_secret};

fn example(name: &str) -> PathBuf {
    package_dir().join("../examples/server").join(name)
}

/// Returns the first `sh` block of the page.
fn commands() -> String {
    let page = fs::read_to_string(example("README.md")).unwrap();
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.to_owned()
}

#[test]
fn ten_commands_unlock_a_device() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::copy(site.path("images.tar"), at("images.tar")).unwrap();
    fs::copy(site.path("hwid"), at("hwid")).unwrap();
    let cdn = serde_json::to_string(site.server().cdn()).unwrap();
    write_secret(&at("cdn.yaml"), cdn);
    // A free port instead of the one on the page.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = commands().replace("127.0.0.1:8443", &format!("127.0.0.1:{port}"));
    assert_eq!(commands.lines().filter(|line| line.contains("# ")).count(), 10);
    let script = format!("set -e\ntrap 'kill $(jobs -p)' EXIT\n{commands}\naz-server check\n");
    let mut command = bash(&script);
    command.current_dir(dir.path()).env("SINK", "cat").env("AZ_CACHE_DIR", at("cache"));
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(finished.stdout == fs::read(at("images.tar")).unwrap(), "another archive");
    // The fragment was sealed: the audit log has it, and no file of the device has it in the clear.
    let audit = fs::read_to_string(at("audit")).unwrap();
    assert!(audit.contains(r#""action":"fragment","user":"cam-7@example.com""#), "{audit}");
    assert!(!audit.contains("AZ-FRAG"), "{audit}");
}

#[test]
fn systemd_accepts_the_units_of_the_server() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        say("skipped: systemd-analyze is not installed");
        return;
    }
    let dir = TempDir::new().unwrap();
    for name in ["az-server.service", "az-server-rotate.service", "az-server-rotate.timer"] {
        let unit = fs::read_to_string(example(name)).unwrap();
        fs::write(dir.path().join(name), unit.replace("/usr/bin/az-server", "/bin/true")).unwrap();
    }
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).current_dir(dir.path()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{args:?}: {text}");
        text
    };
    let units = ["./az-server.service", "./az-server-rotate.service", "./az-server-rotate.timer"];
    let words = analyze(&[&["verify", "--man=no"], &units[..]].concat());
    assert!(!words.contains("az-server"), "{words}");
    for unit in &units[..2] {
        analyze(&["security", "--offline=true", "--no-pager", "--threshold=20", unit]);
    }
}
