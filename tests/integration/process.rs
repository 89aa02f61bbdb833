//! Process behaviour that golden files cannot express: closed pipes, terminals, signals and
//! atomic output files.

use loader_model::Event;
use loader_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tests::{
    EventLines, Finished, Random, bash, events, file_names, filter, run, set_mode, vector, vector_file, whole,
    write_secret,
};

const FILTERS: [&str; 16] = [
    "az-cdn-creds",
    "az-decrypt",
    "az-diff",
    "az-doctor",
    "az-encrypt",
    "az-fetch",
    "az-hwid",
    "az-inspect",
    "az-join",
    "az-load",
    "az-login",
    "az-patch",
    "az-rekey",
    "az-split",
    "az-status",
    "az-whoami",
];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Returns the write end of a pipe without a reader.
fn abandoned_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Waits for the first event line of `child`, the `idle` event: from then on signals are
/// handled. Returns the rest of standard error.
fn wait_for_idle(child: &mut Child) -> BufReader<impl Read + use<>> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(events::parse(&line).states(), ["idle"]);
    stderr
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for the end of the child, after [`wait_for_idle`] has read its first line.
fn finish(child: Child, mut stderr: impl Read) -> Finished {
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    Finished { stderr: said, ..child.wait_with_output().unwrap().into() }
}

#[test]
fn a_closed_pipe_is_141() {
    let (sealed, key) = (whole(), whole().key);
    let cases: [(&str, &[&str], &str); 5] = [
        ("az-decrypt", &["--key-file", "-", sealed.path.to_str().unwrap()], &key),
        ("az-encrypt", &["--key-file", "-", sealed.path.to_str().unwrap()], &key),
        ("az-inspect", &[sealed.path.to_str().unwrap()], ""),
        ("az-join", &["--raw-sha256"], "raw fragment"),
        ("az-split", &[], &key),
    ];
    for (name, args, input) in cases {
        let mut command = filter(name);
        command.args(args).stdout(abandoned_pipe());
        let finished = run(command, input.as_bytes());
        events::check_run(&finished.events());
        assert_eq!((finished.status, finished.code().as_str()), (141, "reader_gone"), "{name}: {}", finished.stderr);
    }
}

#[test]
fn a_closed_pipe_prints_nothing_to_a_terminal() {
    let shown = in_terminal(&format!("az-inspect {} | true; echo status ${{PIPESTATUS[0]}}", whole().path.display()));
    assert!(!shown.contains("reader_gone"), "{shown}");
}

#[test]
fn a_closed_standard_stream_is_a_failure() {
    let dir = TempDir::new().unwrap();
    write_secret(&dir.path().join("key"), &whole().key);
    let sealed = whole().path.display().to_string();
    let outputs = [
        "az-split --new-key".to_owned(),
        "az-join --raw-sha256 key".to_owned(),
        "az-encrypt --key-file key key".to_owned(),
        format!("az-decrypt --key-file key {sealed}"),
        format!("az-rekey --key-file key --add key - < {sealed}"),
        format!("az-inspect {sealed}"),
        "az-hwid --hwid-file key".to_owned(),
        "az-split --help".to_owned(),
    ];
    let inputs = ["az-split", "az-join", "az-encrypt --key-file key", "az-decrypt --key-file key", "az-inspect"];
    let outputs = outputs.iter().map(|line| (format!("{line} >&-"), "output"));
    for (line, stream) in outputs.chain(inputs.iter().map(|line| (format!("{line} <&-"), "input"))) {
        let mut command = bash(&line);
        command.current_dir(dir.path());
        let finished = run(command, b"");
        assert_eq!((finished.status, finished.code().as_str()), (74, "io"), "{line}: {}", finished.stderr);
        assert!(finished.stderr.contains(&format!("\"standard {stream} is closed\"")), "{line}: {}", finished.stderr);
        assert_eq!((finished.stdout.len(), file_names(dir.path())), (0, vec!["key".to_owned()]), "{line}");
    }
    let mut command = bash("az-split --new-key -o out <&- >&- && umask 077 && az-join out | az-split > again 2>&-");
    command.current_dir(dir.path());
    assert_eq!(
        (run(command, b"").status, file_names(dir.path())),
        (0, ["again", "key", "out"].map(str::to_owned).to_vec())
    );
}

#[test]
fn help_into_a_closed_pipe_succeeds() {
    for name in FILTERS {
        for flag in ["--help", "--version"] {
            let mut command = filter(name);
            command.arg(flag).stdout(abandoned_pipe());
            let finished = run(command, b"");
            assert_eq!((finished.status, finished.stderr.as_str()), (0, ""), "{name} {flag}");
        }
    }
}

#[test]
fn help_is_one_screen() {
    for name in FILTERS {
        let mut command = filter(name);
        command.arg("--help");
        let help = run(command, b"").text();
        assert!(help.lines().count() <= 50, "{name}: {} lines", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{name}: too wide: {line}");
        }
        assert!(help.contains("Examples:\n"), "{name} has no examples");
    }
}

#[test]
fn events_without_a_reader_are_not_a_failure() {
    let mut command = filter("az-inspect");
    command.arg(whole().path).stderr(abandoned_pipe());
    let finished = run(command, b"");
    assert_eq!(finished.status, 0);
    assert!(finished.text().starts_with('{'));
}

/// Runs a shell script on a new terminal and returns the output of the terminal.
fn in_terminal(script: &str) -> String {
    let mut command = bash("exec timeout --foreground 120 script -qec \"$SCRIPT\" /dev/null");
    command.env("SCRIPT", script).env("SHELL", "/bin/bash");
    run(command, b"").text()
}

/// Like [`in_terminal`], and types an answer when its prompt appears; a password only after
/// the terminal has stopped echoing.
fn typed_in_terminal(script: &str, answers: &[(&str, &[u8])]) -> String {
    let dir = TempDir::new().unwrap();
    let name = dir.path().join("tty");
    let mut command = bash("exec timeout --foreground 120 script -qec \"$SCRIPT\" /dev/null");
    command.env("SCRIPT", format!("tty > {}; {script}", name.display())).env("SHELL", "/bin/bash");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    for (prompt, key) in answers {
        let seen = shown.len();
        while !String::from_utf8_lossy(&shown[seen..]).contains(prompt) {
            let mut bytes = [0; 256];
            let count = stdout.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "{prompt} does not come: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&bytes[..count]);
        }
        let echoes = || {
            let terminal = File::open(fs::read_to_string(&name).unwrap().trim()).unwrap();
            tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
        };
        if *prompt == "password: " {
            wait_until("the terminal does not echo", || !echoes());
        }
        stdin.write_all(key).unwrap();
    }
    stdout.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn input_at_the_prompt_is_checked() {
    let dir = TempDir::new().unwrap();
    let login = format!("az-login --api-url http://127.0.0.1:1 --retries 0 -o {}/jwt", dir.path().display());
    let email = ("email: ", &b"a@b\n"[..]);
    for (answers, message, status) in [
        (&[("email: ", &b"\n"[..])][..], "no email was typed", 78),
        (&[email, ("password: ", b"\n")], "no password was typed", 78),
        (&[email, ("password: ", b"caf\xe9zz\n")], "not valid UTF-8", 78),
        (&[email, ("password: ", b"hunter2\n")], "connection refused", 75),
    ] {
        let shown = typed_in_terminal(&format!("{login}; echo status $?"), answers);
        assert!(shown.contains(message) && shown.contains(&format!("status {status}")), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    // During password input Ctrl-C sends no signal; az-login handles it.
    let shown = typed_in_terminal(&format!("bash -c '{login}; echo goes on'"), &[email, ("password: ", b"\x03")]);
    assert!(shown.contains("stopped by SIGINT") && !shown.contains("goes on"), "{shown}");
}

#[test]
fn binary_data_and_secrets_are_not_written_to_a_terminal() {
    let dir = TempDir::new().unwrap();
    let sealed = whole();
    write_secret(&dir.path().join("key"), &sealed.key);
    write_secret(&dir.path().join("text"), "some plaintext");
    let at = dir.path().display();
    for (command, what) in [
        (format!("az-decrypt --key-file {at}/key {}", sealed.path.display()), "binary data"),
        (format!("az-encrypt --key-file {at}/key {at}/text"), "binary data"),
        (format!("az-split --key-file {at}/key"), "a secret"),
        (format!("az-join --raw-sha256 {at}/key"), "a secret"),
    ] {
        // Under az-status they write to a pipe, whose content it prints above its bars.
        for command in [command.clone(), format!("TERM=xterm az-status -- {command}")] {
            let shown = in_terminal(&format!("{command}; echo status $?"));
            assert!(shown.contains(&format!("refusing to write {what} to a terminal")), "{command}: {shown}");
            assert!(shown.contains("status 2"), "{command}: {shown}");
            assert!(!shown.contains("AZ-"), "{command}: {shown}");
        }
    }
    let beside = format!("az-join --raw-sha256 {at}/text | wc -l; test -t 1 || echo printed");
    let shown = in_terminal(&format!("TERM=xterm az-status -- sh -c '{beside}'; echo status $?"));
    let (above, below) = shown.split_once("READY: az-join").unwrap();
    assert!(above.contains("printed") && above.contains("az-join"), "{shown}");
    assert!(below.contains("status 0"), "{shown}");
    let forced = in_terminal(&format!("az-join --force --raw-sha256 {at}/text 2>/dev/null; echo status $?"));
    assert!(forced.contains("AZ-SECRET-KEY-1") && forced.contains("status 0"), "{forced}");
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    let mut command = filter("az-inspect");
    command.arg("red\u{1b}[31m\u{202e}\n.azs");
    let finished = run(command, b"");
    assert_eq!(finished.status, 66);
    let events = finished.events();
    let message = events.0.last().unwrap()["error"]["message"].as_str().unwrap();
    assert!(message.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{message:?}");
    assert!(message.contains(r"red\u{1b}[31m\u{202e}\u{a}.azs"), "{message}");
}

#[test]
fn signals_end_a_stage_with_its_final_line() {
    for (number, sent, code, exit) in
        [(2, Signal::INT, "interrupted", 130), (15, Signal::TERM, "terminated", 143), (1, Signal::HUP, "hung_up", 129)]
    {
        let mut command = filter("az-decrypt");
        command.args(["--key-file", "-"]).arg(whole().path).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stderr = wait_for_idle(&mut child);
        signal(&child, sent);
        let finished = finish(child, stderr);
        drop(stdin);
        assert_eq!(finished.status, -number, "{}", finished.stderr);
        let events = finished.events();
        assert_eq!(events.states(), ["error"]);
        assert_eq!(events.0[0]["error"]["code"], code);
        assert_eq!(events.0[0]["error"]["exit"], exit);
    }
}

/// Returns the only child process of `parent`.
fn child_of(parent: &Child) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", parent.id());
    fs::read_to_string(path).unwrap().trim().parse().ok().and_then(Pid::from_raw).unwrap()
}

#[test]
fn a_stage_that_is_process_1_ends_on_a_signal() {
    let unshare = ["--user", "--map-root-user", "--pid", "--fork"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        tests::say("skipped: process namespaces are not available");
        return;
    }
    for (number, sent, code) in [(2, Signal::INT, "interrupted"), (15, Signal::TERM, "terminated")] {
        let stage = filter("az-decrypt");
        let mut command = Command::new("unshare");
        command.args(unshare).arg(stage.get_program()).args(["--key-file", "-"]).arg(whole().path);
        command.env_clear().envs(stage.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stderr = wait_for_idle(&mut child);
        kill_process(child_of(&child), sent).unwrap();
        let finished = finish(child, stderr);
        drop(stdin);
        assert_eq!((finished.status, finished.code().as_str()), (128 + number, code), "{}", finished.stderr);
    }
}

#[test]
fn a_failure_is_reported_while_the_input_is_open() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key");
    write_secret(&key, &whole().key);
    let mut command = filter("az-encrypt");
    command.args(["--raw", "--key-file"]).arg(&key);
    let mut sealed = run(command, &vec![7; 3 << 20]).stdout;
    sealed[200_000] ^= 1;
    // One thread verifies the first segment while another waits for the rest of the second.
    for _ in 0..5 {
        let mut command = filter("az-decrypt");
        command.args(["--threads", "2", "--key-file"]).arg(&key).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&sealed[..3 << 19]).unwrap();
        // Would block forever if the filter waited for input that it no longer needs.
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(65), 0));
    }
}

/// Starts az-encrypt with the output `dir/out` and writes more input than its pipe can hold.
fn half_way(dir: &Path) -> (Child, impl Write + use<>, BufReader<impl Read + use<>>) {
    let key = dir.join("key");
    write_secret(&key, &whole().key);
    let mut command = filter("az-encrypt");
    command.args(["--segment", "4K", "--key-file"]).arg(&key).arg("-o").arg(dir.join("out")).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stderr = wait_for_idle(&mut child);
    // A pipe holds at most 1 MiB: when this returns, the rest has been sealed.
    stdin.write_all(&Random(3).bytes(4 << 20)).unwrap();
    (child, stdin, stderr)
}

#[test]
fn a_file_is_not_replaced_before_the_new_one_is_complete() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::write(&out, "the old one").unwrap();
    let (child, stdin, stderr) = half_way(dir.path());
    assert_eq!(fs::read(&out).unwrap(), b"the old one");
    drop(stdin);
    let finished = finish(child, stderr);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(fs::metadata(&out).unwrap().len() > 4 << 20);
    assert_eq!(file_names(dir.path()), ["key", "out"]);
}

#[test]
fn a_killed_stage_keeps_the_old_file_and_leaves_nothing_else() {
    for (sent, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::KILL, 9)] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("out"), "the old one").unwrap();
        let (child, stdin, stderr) = half_way(dir.path());
        signal(&child, sent);
        let finished = finish(child, stderr);
        drop(stdin);
        assert_eq!(finished.status, -number, "{}", finished.stderr);
        assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"the old one");
        // Without O_TMPFILE a kill may leave a temporary file, but not with the final name.
        let left: Vec<_> = file_names(dir.path()).into_iter().filter(|name| !name.ends_with(".tmp")).collect();
        assert_eq!(left, ["key", "out"]);
        if sent != Signal::KILL {
            assert_eq!(file_names(dir.path()), ["key", "out"]);
        }
    }
}

#[test]
fn a_failed_stage_keeps_the_old_file_and_leaves_nothing_else() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::write(&out, "the old one").unwrap();
    for name in ["cut_mid_s2", "flip_last_tag_s2", "trailing_1_s2", "wrong_key_s2"] {
        let vector = vector(name);
        let mut command = filter("az-decrypt");
        command.args(["--key-file", "-", "-o"]).arg(&out).arg(&vector.path);
        assert!(matches!(run(command, vector.key.as_bytes()).status, 65 | 79), "{name}");
        assert_eq!(fs::read(&out).unwrap(), b"the old one", "{name}");
        assert_eq!(file_names(dir.path()), ["out"], "{name}");
    }
}

#[test]
fn a_link_to_a_device_or_a_descriptor_is_not_replaced() {
    let dir = TempDir::new().unwrap();
    for target in ["/dev/null", "/proc/self/fd/1", "/dev/fd/1", "first"] {
        let (link, first) = (dir.path().join("link"), dir.path().join("first"));
        std::os::unix::fs::symlink("/proc/self/fd/2", &first).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
        for stdout in [Stdio::piped(), File::create(dir.path().join("stdout")).unwrap().into()] {
            let mut command = filter("az-split");
            command.args(["--new-key", "-o"]).arg(&link).stdout(stdout);
            let finished = run(command, b"");
            assert_eq!((finished.status, finished.stdout.len()), (73, 0), "{target}: {}", finished.stderr);
            assert!(finished.stderr.contains("redirect standard output instead"), "{}", finished.stderr);
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
            assert_eq!(file_names(dir.path()), ["first", "link", "stdout"]);
        }
        fs::remove_file(&link).unwrap();
        fs::remove_file(&first).unwrap();
    }
}

#[test]
fn a_secret_redirected_to_a_file_in_a_private_directory_gets_mode_600() {
    let dir = TempDir::new().unwrap();
    set_mode(dir.path(), 0o700);
    let redirected = |name: &str, content: &str, args: &[&str], filter_name: &str, input: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o644);
        let mut command = filter(filter_name);
        command.args(args).stdout(File::options().append(true).open(&path).unwrap());
        assert_eq!(run(command, input.as_bytes()).status, 0);
        mode(&path)
    };
    let key = whole().key;
    assert_eq!(redirected("fragments", "", &[], "az-split", &key), 0o600);
    assert_eq!(redirected("key", "", &["--raw-sha256"], "az-join", "raw"), 0o600);
    assert_eq!(redirected("log", "a line\n", &[], "az-split", &key), 0o644, "what was there before is not ours");
    let file = vector_file("vectors.json");
    let args = ["--key-file", "-", file.to_str().unwrap()];
    assert_eq!(redirected("sealed", "", &args, "az-encrypt", &key), 0o644, "sealed bytes are no secret");
}

#[test]
fn files_and_descriptors_work_without_proc() {
    let dir = TempDir::new().unwrap();
    write_secret(&dir.path().join("key"), &whole().key);
    let in_namespace = |script: &str| {
        let mut command = bash("exec unshare --user --map-root-user --mount bash -c \"$SCRIPT\"");
        command.current_dir(dir.path()).env("SCRIPT", format!("mount -t tmpfs none /proc && {{ {script}; }}"));
        run(command, b"")
    };
    if in_namespace("true").status != 0 {
        tests::say("skipped: no mount permitted here");
        return;
    }
    let finished = in_namespace("az-encrypt --key-fd 5 5<key -o out key");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(file_names(dir.path()), ["key", "out"]);
    let finished = in_namespace("az-decrypt --key-fd 5 5<key out | cmp - key");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    let finished = in_namespace("az-decrypt --key-fd 77 out");
    assert_eq!((finished.status, finished.code().as_str()), (66, "not_found"), "{}", finished.stderr);
}

#[test]
fn a_run_directory_without_a_run_id_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut command = filter("az-load");
    command.env_remove("AZ_RUN").env("AZ_RUN_DIR", dir.path()).args(["--command", "true"]);
    let finished = run(command, b"");
    assert_eq!(finished.status, 78, "{}", finished.stderr);
    assert!(finished.stderr.contains("AZ_RUN_DIR is set, but AZ_RUN is not"), "{}", finished.stderr);
}

/// Opening a FIFO waits for its other end, so another user who created one in the directory
/// could stop a stage forever.
#[test]
fn a_fifo_in_place_of_a_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let timed = |script: &str| {
        let mut command = bash(&format!("timeout 60 {script}"));
        command.current_dir(dir.path()).env("AZ_RUN", "r");
        let finished = run(command, b"");
        (finished.status, finished.stderr)
    };
    let fifos = "az-whoami.jsonl az-decrypt.jsonl log_loader_20231114.txt metrics";
    assert_eq!(timed(&format!("mkfifo {fifos}")).0, 0);
    let (status, stderr) = timed("env AZ_RUN_DIR=. az-whoami");
    assert!(status == 73 && stderr.contains("az-whoami.jsonl: is not a regular file"), "{status}: {stderr}");
    let (status, stderr) = timed("env AZ_RUN_DIR=. az-load --command cat");
    assert!(status == 74 && stderr.contains("az-decrypt.jsonl: is not a regular file"), "{status}: {stderr}");
    for (options, expected) in [("--run-dir .", 74), ("--log-dir . -- true", 73), ("--prometheus metrics -- true", 73)]
    {
        let (status, stderr) = timed(&format!("az-status {options}"));
        assert!(status == expected && stderr.contains("not a regular file"), "{options}: {status}: {stderr}");
    }
}

#[test]
fn a_link_of_another_user_to_the_run_directory_is_refused() {
    let (dir, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let link = dir.path().join("link");
    symlink(target.path(), &link).unwrap();
    let inspect = |run_dir: &Path| {
        let mut command = filter("az-inspect");
        command.arg(whole().path).env("AZ_RUN_DIR", run_dir);
        run(command, b"")
    };
    assert_eq!(inspect(&link).status, 0, "a link of this user");
    if lchown(&link, Some(65534), None).is_err() {
        tests::say("skipped: only root can give a link to another user");
        return;
    }
    for run_dir in [link.clone(), link.join("inner")] {
        let finished = inspect(&run_dir);
        assert_eq!(finished.status, 73, "{}", finished.stderr);
        assert!(finished.stderr.contains("link is a symbolic link of another user"), "{}", finished.stderr);
    }
}

#[test]
fn a_failure_of_another_stage_is_reported_with_its_name() {
    let dir = TempDir::new().unwrap();
    let event =
        |state: &str| format!(r#"{{"v":1,"ts":"2026-01-01T00:00:00.000Z","run":"r","stage":"az-decrypt",{state}}}"#);
    let failed = r#""state":"error","error":{"code":"wrong_key","exit":79,"message":"no slot fits"}"#;
    fs::write(dir.path().join("az-decrypt.jsonl"), [event(r#""state":"idle""#), event(failed)].join("\n") + "\n")
        .unwrap();
    let load = |args: &[&str]| {
        let mut command = filter("az-load");
        command.args(["--command", "cat"]).args(args);
        command
    };
    let caused_by = |finished: &Finished| {
        let line = finished.stderr.lines().last().unwrap();
        serde_json::from_str::<Event>(line).unwrap().error.unwrap().caused_by.map(|stage| stage.to_string())
    };
    let mut command = load(&[]);
    command.env("AZ_RUN", "r").env("AZ_RUN_DIR", dir.path());
    let upstream = run(command, b"");
    assert_eq!((upstream.status, caused_by(&upstream).as_deref()), (79, Some("az-decrypt")), "{}", upstream.stderr);
    let producer = run(load(&["--", "az-decrypt", "none.enc"]), b"");
    assert_ne!(producer.status, 0);
    assert_eq!(caused_by(&producer).as_deref(), Some("az-decrypt"), "{}", producer.stderr);
    for own in [load(&["--", "false"]), load(&[])] {
        let finished = run(own, b"");
        assert_ne!(finished.status, 0);
        assert_eq!(caused_by(&finished), None, "{}", finished.stderr);
    }
}

#[test]
fn the_run_directory_keeps_every_line() {
    let dir = TempDir::new().unwrap();
    let inspect = |style: &str| {
        let mut command = filter("az-inspect");
        command.arg(whole().path).env("AZ_RUN_DIR", dir.path()).env("AZ_EVENTS", style);
        run(command, b"")
    };
    let said = inspect("json").stderr;
    let log = dir.path().join("az-inspect.jsonl");
    assert_eq!(fs::read_to_string(&log).unwrap(), said);
    assert_eq!(mode(&log), 0o600);
    assert_eq!(inspect("off").stderr, "");
    assert_eq!(fs::read_to_string(&log).unwrap(), said.repeat(2), "AZ_EVENTS is about standard error alone");

    let mut command = filter("az-inspect");
    command.arg(whole().path).env("AZ_RUN_DIR", dir.path().join("made"));
    assert_eq!((run(command, b"").status, mode(&dir.path().join("made"))), (0, 0o700));
    assert!(dir.path().join("made/az-inspect.jsonl").exists());

    let mut command = filter("az-inspect");
    command.arg(whole().path).env("AZ_RUN_DIR", dir.path().join("missing/deeper"));
    assert_eq!(run(command, b"").status, 73);

    let mut command = filter("az-inspect");
    command.arg(whole().path).env("AZ_RUN_DIR", dir.path()).args(["--events-file", "/nowhere/events"]);
    let finished = run(command, b"");
    assert_eq!(finished.status, 73);
    assert!(fs::read_to_string(&log).unwrap().ends_with(&finished.stderr), "its last line is in the run directory");
}

#[test]
fn lines_of_parallel_stages_are_not_mixed() {
    let script = "for i in $(seq 60); do az-inspect \"$FILE\" > /dev/null & done; wait";
    let mut command = bash(script);
    command.env("FILE", whole().path);
    assert_eq!(run(command, b"").events().0.len(), 120);
}
