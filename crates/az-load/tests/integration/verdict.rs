//! Facts that are not in the archive: the outcome of the previous stage, the sealed
//! list of images, the images of the engine, and engines that fail.

use crate::engines::{Engine, Ran, az_load, docker, run, unique};
use crate::sample::Sample;
use loader_testkit::{Finished, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Case {
    one: String,
    two: String,
}

impl Case {
    fn new() -> Self {
        Self { one: unique("c"), two: unique("d") }
    }

    fn legacy(&self) -> Vec<u8> {
        Sample { one: &self.one, two: &self.two, len: 300_000 }.legacy()
    }

    fn tagged(&self, engine: &Engine) -> bool {
        engine.has(&self.one) || engine.has(&self.two)
    }

    fn remove(&self, engine: &Engine) {
        for tag in [format!("{}:1.4", self.one), format!("{}:latest", self.one), format!("{}:2", self.two)] {
            engine.remove(&tag);
        }
    }

    /// What az-inspect would print of the sealed archive.
    fn sealed(&self) -> String {
        crate::engines::sealed(&self.legacy())
    }
}

fn line(run: &str, pid: u32, rest: &str) -> String {
    format!(r#"{{"v":1,"ts":"2026-01-01T00:00:00.000Z","run":"{run}","stage":"az-decrypt","pid":{pid},{rest}}}"#) + "\n"
}

const READY: &str = r#""state":"ready""#;
const IDLE: &str = r#""state":"idle""#;
const WRONG_KEY: &str = r#""state":"error","error":{"code":"wrong_key","exit":79,"message":"no slot fits"}"#;

fn after(engine: &Engine, folder: &Path, bytes: &[u8], lines: &[String]) -> Ran {
    std::fs::write(folder.join("az-decrypt.jsonl"), lines.concat()).unwrap();
    engine.load(bytes, |command| command.env("AZ_RUN", "r1").env("AZ_RUN_DIR", folder))
}

/// The id of a process that has ended.
fn ended() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn the_upstream_stage_decides() {
    let Some(engine) = docker() else { return };
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let whole = case.legacy();
    let run = |lines: &[String]| after(&engine, folder.path(), &whole, lines);
    let gone = ended();

    let ran = run(&[line("r1", 5, IDLE), line("r1", 5, WRONG_KEY)]);
    assert_eq!(ran.exit, Some(79), "{}", ran.stderr);
    let ran = run(&[line("r0", 5, IDLE), line("r0", 5, READY), line("r1", gone, IDLE)]);
    assert_eq!(ran.exit, Some(75), "the final line is of another run: {}", ran.stderr);
    let ran = run(&[line("r1", 5, IDLE), line("r1", 5, READY), line("r1", gone, IDLE)]);
    assert_eq!(ran.exit, Some(75), "the final line is of an attempt before: {}", ran.stderr);
    let cut =
        after(&engine, folder.path(), &whole[..whole.len() / 2], &[line("r1", 5, IDLE), line("r1", 5, WRONG_KEY)]);
    assert_eq!(cut.exit, Some(79), "the first cause, not the cut: {}", cut.stderr);
    let empty = after(&engine, folder.path(), b"", &[line("r1", gone, IDLE)]);
    assert_eq!(empty.exit, Some(75), "killed before the first byte: {}", empty.stderr);
    assert!(!case.tagged(&engine));

    let ran = run(&[line("r1", 4, IDLE), line("r1", 4, WRONG_KEY), line("r1", 5, IDLE), line("r1", 5, READY)]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(r#""upstream":"ready""#) && case.tagged(&engine));
    case.remove(&engine);

    let ran = run(&[line("r0", 5, IDLE)]);
    assert!(ran.exit == Some(0) && ran.stderr.contains(r#""upstream":"unknown""#), "not of this run: {}", ran.stderr);
    case.remove(&engine);
    let named = engine.load(&whole, |command| command.args(["--after", "az-decrypt"]));
    assert_eq!(named.exit, Some(78), "{}", named.stderr);
}

#[test]
fn a_final_line_may_be_late() {
    let Some(engine) = docker() else { return };
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("az-decrypt.jsonl");
    std::fs::write(&path, line("r1", std::process::id(), IDLE)).unwrap();
    let mut command = engine.az_load();
    command.env("AZ_RUN", "r1").env("AZ_RUN_DIR", folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&case.legacy()).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none() && !case.tagged(&engine), "it waits, and nothing is tagged");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(line("r1", std::process::id(), READY).as_bytes()).unwrap();
    let ran = Ran::from(Finished::from(child.wait_with_output().unwrap()));
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    case.remove(&engine);
}

#[test]
fn a_command_that_fails_or_is_killed_loads_nothing() {
    let Some(engine) = docker() else { return };
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let file = folder.path().join("images.tar");
    let whole = case.legacy();
    std::fs::write(&file, &whole).unwrap();
    let shell = |script: &str| {
        let mut command = engine.az_load();
        command.args(["--", "sh", "-c", script, "sh"]).arg(&file);
        run(command, b"")
    };
    let half = whole.len() / 2;
    for (script, exit) in [
        (format!("head -c {half} \"$1\"; kill -9 $$"), 75),
        (format!("head -c {} \"$1\"; kill -9 $$", whole.len() - 512), 75),
        ("cat \"$1\"; kill -9 $$".to_owned(), 75),
        ("cat \"$1\"; head -c 4096 /dev/zero; kill -9 $$".to_owned(), 75),
        ("cat \"$1\"; exit 65".to_owned(), 65),
        ("cat \"$1\"; exit 79".to_owned(), 79),
        ("cat \"$1\"; exit 1".to_owned(), 65),
        (format!("head -c {half} \"$1\""), 65),
        ("kill -9 $$".to_owned(), 75),
    ] {
        let ran = shell(&script);
        assert_eq!(ran.exit, Some(exit), "{script}: {}", ran.stderr);
        assert!(!case.tagged(&engine), "{script}");
    }
    let ran = shell("cat \"$1\"");
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    case.remove(&engine);
}

#[test]
fn a_stall_tags_nothing_and_ends_well() {
    let Some(engine) = docker() else { return };
    let case = Case::new();
    let whole = case.legacy();
    let mut command = engine.az_load();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stalls = [0, whole.len() / 2, whole.len() - 600, whole.len() - 1];
    for (from, at) in [0].into_iter().chain(stalls).zip(stalls) {
        stdin.write_all(&whole[from..at]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!case.tagged(&engine), "stalled at {at}");
    }
    stdin.write_all(&whole[whole.len() - 1..]).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    case.remove(&engine);
}

/// After a load that was interrupted another one with other content is not disturbed.
#[test]
fn a_signal_before_the_commit_tags_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let Some(engine) = docker() else { return };
    for (signal, number) in [("-INT", 2), ("-TERM", 15), ("-KILL", 9)] {
        let case = Case::new();
        let whole = case.legacy();
        let mut command = engine.az_load();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&whole[..whole.len() - 1]).unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines =
            lines.map(Result::unwrap).skip_while(|line| !line.contains(r#""step":"layer-sent","detail":{"n":3,"#));
        lines.next().unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert!(!case.tagged(&engine), "{signal}");
    }
    let case = Case::new();
    let ran = engine.load(&case.legacy(), |command| command);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    case.remove(&engine);
}

fn the_archive_must_match_the_sealed_list(engine: &Engine) {
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let (sealed, whole) = (folder.path().join("sealed.json"), case.legacy());
    let expect = |text: &str| {
        std::fs::write(&sealed, text).unwrap();
        engine.load(&whole, |command| command.arg("--expect-images").arg(&sealed))
    };
    let ran = expect(&case.sealed().replace(":latest", ":newest"));
    assert_eq!(ran.exit, Some(65), "{}", ran.stderr);
    assert!(!case.tagged(engine));

    let present = |text: &str| engine.load(text.as_bytes(), |command| command.arg("--present"));
    let absent = |text: &str, why: &str| {
        let ran = present(text);
        assert!(ran.exit == Some(66) && ran.stderr.contains(why) && ran.stdout.is_empty(), "{why}: {}", ran.stderr);
    };
    absent(&case.sealed(), "not listed by the engine");
    let ran = expect(&case.sealed());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let ran = present(&case.sealed());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(&case.one) && ran.stdout.contains("\"id\":\"sha256:"));
    let mut layers = case.sealed();
    let digit = layers.find("\"diff_id\":\"sha256:").unwrap() + 18;
    let other = if layers[digit..].starts_with('0') { "1" } else { "0" };
    layers.replace_range(digit..=digit, other);
    absent(&layers, "it has other layers");
    let tag = format!("{}:2", case.two);
    engine.remove(&tag);
    absent(&case.sealed(), "not listed by the engine");
    engine.tag(&format!("{}:1.4", case.one), &case.two, "2");
    // The list has no id for the containerd image store.
    absent(
        &case.sealed(),
        if engine.uses_containerd() { "it has other layers" } else { "another image has this name" },
    );
    case.remove(engine);
}

#[test]
fn docker_has_what_was_sealed_or_nothing() {
    let Some(engine) = docker() else { return };
    the_archive_must_match_the_sealed_list(&engine);
}

#[test]
fn podman_has_what_was_sealed_or_nothing() {
    if docker().is_none() {
        return;
    }
    let Some(engine) = Engine::podman() else { return };
    the_archive_must_match_the_sealed_list(&engine);
    let (case, whole) = (Case::new(), Case::new().legacy());
    let program = engine.podman_load();
    let ran = engine.load(&whole[..whole.len() - 512], |command| command.args(["--command", &program]));
    assert!(ran.exit == Some(65) && !case.tagged(&engine), "{}", ran.stderr);
    let case = Case::new();
    let ran = engine.load(&case.legacy(), |command| command.args(["--command", &program]));
    assert!(ran.exit == Some(0) && ran.stderr.contains("\"command\"") && case.tagged(&engine), "{}", ran.stderr);
}

#[test]
fn layers_that_are_there_are_not_sent() {
    let Some(engine) = docker().filter(Engine::has_own_store) else { return };
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let (sealed, whole) = (folder.path().join("sealed.json"), case.legacy());
    std::fs::write(&sealed, case.sealed()).unwrap();
    let load =
        || engine.load(&whole, |command| command.arg("--skip-present-layers").arg("--expect-images").arg(&sealed));
    let ran = load();
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("layers-skipped"));
    // The second image goes, the first one with the shared layer stays.
    engine.remove(&format!("{}:2", case.two));
    let ran = load();
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(r#""step":"layers-skipped","detail":{"bytes":"#) && ran.stderr.contains(r#""layers":2"#)
    );
    assert!(engine.has(&case.two));
    case.remove(&engine);
}

#[test]
fn a_program_in_the_place_of_a_socket() {
    let Some(engine) = docker() else { return };
    let Ok(true) = Command::new("docker").arg("--version").stdout(Stdio::null()).status().map(|s| s.success()) else {
        return;
    };
    let case = Case::new();
    let whole = case.legacy();
    let load = |bytes: &[u8], program: &str| engine.load(bytes, |command| command.args(["--command", program]));
    let ran = load(&whole[..whole.len() - 512], "docker load");
    assert_eq!(ran.exit, Some(65), "{}", ran.stderr);
    assert!(!case.tagged(&engine));
    let ran = load(&whole, "docker load");
    assert!(ran.exit == Some(0) && ran.stderr.contains("\"command\"") && case.tagged(&engine), "{}", ran.stderr);
    case.remove(&engine);
    assert_eq!(load(&whole, "no-such-program-here").exit, Some(69));
    assert_eq!(load(&whole, "false").exit, Some(76));
}

#[test]
fn engines_that_are_not_there() {
    let host = |host: &str| {
        let mut command = az_load();
        command.env("DOCKER_HOST", host);
        run(command, b"").exit
    };
    assert_eq!(host("unix:///no/such/socket"), Some(69));
    for other in
        ["tcp://127.0.0.1:2375", "ssh://root@box", "npipe:////./pipe/docker_engine", "fd://", "unix://rel", "/x"]
    {
        assert_eq!(host(other), Some(78), "{other}");
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn an_engine_that_dies_in_the_middle_has_nothing() {
    if docker().is_none() {
        return;
    }
    let (case, root) = (Case::new(), tempfile::tempdir().unwrap());
    let Some(mut engine) = Engine::dockerd(root.path()) else {
        eprintln!("skipped: no second dockerd starts here");
        return;
    };
    let whole = case.legacy();
    let mut command = engine.az_load();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole[..whole.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    engine.kill();
    let _ = stdin.write_all(&whole[whole.len() / 2..]);
    drop(stdin);
    let ran = Ran::from(Finished::from(child.wait_with_output().unwrap()));
    assert_eq!(ran.exit, Some(69), "{}", ran.stderr);
    drop(engine);
    let engine = Engine::dockerd(root.path()).unwrap();
    assert!(!case.tagged(&engine));
    let ran = engine.load(&whole, |command| command);
    assert_eq!(ran.exit, Some(0), "and then it loads: {}", ran.stderr);
}

/// Forwards connections to the engine, and closes them immediately after a load was
/// committed, without reading the response of the engine.
fn breaking_after_commit(socket: &Path, to: PathBuf) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut engine) = (client.unwrap(), UnixStream::connect(&to).unwrap());
            let (mut back, mut answer) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut start = [0; 4];
                client.read_exact(&mut start).unwrap();
                engine.write_all(&start).unwrap();
                let load = start == *b"POST";
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    engine.write_all(&buffer[..read]).unwrap();
                    seen.extend(&buffer[..read]);
                    if load && seen.ends_with(b"\r\n0\r\n\r\n") {
                        client.shutdown(Shutdown::Both).unwrap();
                        break;
                    }
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut listens = true;
                while let Ok(read @ 1..) = answer.read(&mut buffer) {
                    listens = listens && back.write_all(&buffer[..read]).is_ok();
                }
                let _ = back.shutdown(Shutdown::Both);
            });
        }
    });
}

#[test]
fn a_connection_that_breaks_after_the_commit_is_no_verdict() {
    let Some(engine) = docker() else { return };
    let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
    let socket = folder.path().join("sock");
    breaking_after_commit(&socket, engine.socket().to_owned());
    let ran = engine.load(&case.legacy(), |command| command.env("DOCKER_HOST", format!("unix://{}", socket.display())));
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("answer-lost"), "{}", ran.stderr);
    assert!(engine.has(&case.one) && engine.has(&case.two));
    case.remove(&engine);
}

/// A way to the engine that holds back the answer to the load until `release` has a message
/// for it, or is dropped. It reports when the engine has the whole archive.
fn holding_the_answer(socket: &Path, to: PathBuf, release: Receiver<()>, committed: Sender<()>) {
    let listener = UnixListener::bind(socket).unwrap();
    let release = Arc::new(Mutex::new(release));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut engine) = (client.unwrap(), UnixStream::connect(&to).unwrap());
            let (mut back, mut answer) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            let (release, committed) = (release.clone(), committed.clone());
            std::thread::spawn(move || {
                let mut start = [0; 12];
                client.read_exact(&mut start).unwrap();
                engine.write_all(&start).unwrap();
                std::thread::spawn(move || {
                    if start == *b"POST /images" {
                        let _ = release.lock().unwrap().recv();
                    }
                    let _ = std::io::copy(&mut answer, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    engine.write_all(&buffer[..read]).unwrap();
                    seen.extend(&buffer[..read]);
                    if seen.ends_with(b"\r\n0\r\n\r\n") {
                        let _ = committed.send(());
                    }
                }
            });
        }
    });
}

/// The engine has the whole archive and loads it, whether az-load lives or not: a signal
/// waits until the outcome is known.
#[test]
fn a_signal_after_the_commit_waits_for_its_outcome() {
    use std::os::unix::process::ExitStatusExt;
    let Some(engine) = docker() else { return };
    for is_sent_twice in [false, true] {
        let (case, folder) = (Case::new(), tempfile::tempdir().unwrap());
        let socket = folder.path().join("sock");
        let (release, held) = std::sync::mpsc::channel();
        let (committed, commit) = std::sync::mpsc::channel();
        holding_the_answer(&socket, engine.socket().to_owned(), held, committed);
        let mut command = engine.az_load();
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&case.legacy()).unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let interrupt = || {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        };
        commit.recv().unwrap();
        interrupt();
        assert!(lines.any(|line| line.contains(r#""step":"signal-deferred","detail":{"signal":"SIGINT"}"#)));
        if is_sent_twice {
            interrupt();
            assert_eq!(child.wait().unwrap().signal(), Some(2));
            drop(release);
            // Nobody waits for the engine any more, which loads both all the same.
            wait_until("the engine has the second image", || engine.has(&case.two));
        } else {
            release.send(()).unwrap();
            let rest: Vec<String> = lines.collect();
            assert!(child.wait().unwrap().success(), "{rest:?}");
            assert!(engine.has(&case.one) && engine.has(&case.two));
        }
        case.remove(&engine);
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn an_engine_without_space_has_nothing() {
    if docker().is_none() {
        return;
    }
    let (case, root) = (Case::new(), tempfile::tempdir().unwrap());
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(root.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    match Engine::dockerd(root.path()) {
        None => eprintln!("skipped: no second dockerd starts here"),
        Some(engine) => {
            let whole = Sample { one: &case.one, two: &case.two, len: 2_000_000 }.legacy();
            let ran = engine.load(&whole, |command| command);
            assert_eq!(ran.exit, Some(74), "{}", ran.stderr);
            assert!(!case.tagged(&engine));
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), vec![0; 4 << 20]).unwrap();
            let ran = engine.load(b"", |command| command.arg(file.path()));
            assert_eq!(ran.exit, Some(74), "known before the first byte: {}", ran.stderr);
        }
    }
    let _ = Command::new("umount").arg(root.path()).status();
}
