//! Running stages, observed from outside.

use super::{Site, Watched, check_none, files};
use loader_testkit::test_dir::TestDir;
use loader_testkit::{make_fifo, open_fifo};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tests::{bash, binary, filter, set_mode, write_program};

/// Child process that is killed on drop.
pub(super) struct Held(pub(super) Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `command`, which reads `fifo`, and waits until it has opened it. The process
/// then waits for input as long as the write end is open.
pub(super) fn hold(mut command: Command, fifo: &Path) -> (Held, fs::File) {
    let mut held = Held(command.stderr(Stdio::null()).spawn().unwrap());
    let end = open_fifo(fifo, &mut held.0);
    (held, end)
}

fn check_process(place: &str, pid: u32) {
    let proc = Path::new("/proc").join(pid.to_string());
    let command_line = fs::read(proc.join("cmdline")).unwrap();
    assert!(!command_line.is_empty(), "{place}: ended");
    check_none(&format!("{place}: command line"), &command_line);
    // Only root may read this file of a process that is not dumpable.
    if let Ok(environment) = fs::read(proc.join("environ")) {
        check_none(&format!("{place}: environment"), &environment);
    }
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{place}: {core}");
}

/// With any core limit and any core pattern.
#[test]
fn a_stage_that_aborts_dumps_no_core() {
    let watched = Watched::new(Site::start());
    let fifo = watched.site.path("held");
    make_fifo(&fifo);
    let line = r#"ulimit -c "$(ulimit -H -c)"; exec az-decrypt --key-file "$SITE/key" "$SITE/held""#;
    let mut command = bash(line);
    watched.configure(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (mut child, _end) = hold(command, &fifo);
    check_process("az-decrypt", child.0.id());
    let pid = Pid::from_child(&child.0);
    kill_process(pid, Signal::ABORT).unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
    assert!(!files(watched.dir.root()).iter().any(|path| path.file_name().unwrap() == "core"));
    watched.check("aborted");
}

#[test]
fn a_running_stage_shows_no_secret() {
    let watched = Watched::new(Site::start());
    let at = |name: &str| watched.site.path(name).into_os_string().into_string().unwrap();
    let fifo = watched.site.path("held");
    make_fifo(&fifo);
    let held = fifo.to_str().unwrap();
    let (jwt, key, secret) = (at("jwt"), at("key"), at("device-secret"));
    let model = ["--token-file", &jwt, "--cdn-file", held, "models/yolo.onnx"];
    let (uploader, cdn, images) = (at("uploader.jwt"), at("cdn.json"), at("images.enc"));
    let push = ["--token-file", &uploader, "--cdn-file", held, "models/a", &images];
    let cases: [(&str, &[&str]); 15] = [
        ("az-login", &["--credentials-file", held]),
        ("az-whoami", &["--token-file", held]),
        ("az-doctor", &["--only", "key,login", "--key-file", &key, "--credentials-file", held]),
        ("az-cdn-creds", &["--token-file", held]),
        ("az-fetch", &["--device-secret-file", &secret, "--token-file", held, "key-fragment"]),
        ("az-fetch", &model),
        ("az-join", &[&at("device.frag"), held]),
        ("az-decrypt", &["--key-file", &key, held]),
        ("az-encrypt", &["--key-file", &key, held]),
        ("az-inspect", &["--key-file", &key, held]),
        ("az-rekey", &["--key-file", &key, "--add", held, &images]),
        ("az-split", &["--key-file", held]),
        ("az-push", &push),
        ("az-push", &["--token-file", &uploader, "--cdn-file", &cdn, "models/a", held]),
        ("az-load", &[held]),
    ];
    for (name, args) in cases {
        let mut command = filter(name);
        watched.configure(&mut command);
        let (child, _end) = hold(
            {
                command.args(args);
                command
            },
            &fifo,
        );
        check_process(name, child.0.id());
    }
    watched.check("running");
}

/// Files in `/proc` of a process that is not dumpable belong to root. If the test runs as
/// root, it starts the stage as another user.
#[test]
fn the_memory_of_a_stage_is_hidden_from_its_user() {
    const NOBODY: u32 = 65534;
    let dir = TestDir::new();
    let (program, fifo) = (dir.path("az-join"), dir.path("held"));
    write_program(&program, fs::read(binary("az-join")).unwrap());
    make_fifo(&fifo);
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(&program);
    command.env_clear().args([&fifo, &fifo]).stdin(Stdio::null()).stdout(Stdio::null());
    let user = if root { NOBODY } else { rustix::process::geteuid().as_raw() };
    if root {
        set_mode(dir.root(), 0o755);
        std::os::unix::fs::chown(&fifo, Some(NOBODY), None).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let (child, _end) = hold(command, &fifo);
    check_process("az-join", child.0.id());
    for name in ["environ", "mem", "maps", "fd", "status"] {
        let owner = fs::metadata(format!("/proc/{}/{name}", child.0.id())).unwrap().uid();
        assert_ne!(owner, user, "{name}");
    }
}
