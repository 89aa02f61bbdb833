//! az-status with a command: real shells and pipelines.

use crate::events::{Ended, az_status, run};
use loader_testkit::wait_until;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Shell functions that write events like a stage: `say STAGE STATE [MORE]`,
/// `fail STAGE CODE EXIT MESSAGE`. The process id is that of the (sub)shell, or `PID` if it is set.
const FUNCTIONS: &str = r#"
say() { echo "{\"v\":1,\"ts\":\"$(date -u +%FT%T.%3NZ)\",\"run\":\"$AZ_RUN\",\"stage\":\"$1\",\"pid\":${PID:-$BASHPID},\"state\":\"$2\"$3}" >&2; }
fail() { say $1 error ",\"error\":{\"code\":\"$2\",\"exit\":$3,\"message\":\"$4\"}"; exit $3; }
"#;

/// Runs `script` with bash and pipefail under az-status with `options`.
fn shell(options: &[&str], script: &str) -> Ended {
    let script = format!("{FUNCTIONS}{script}");
    run(az_status().args(options).args(["--", "bash", "-o", "pipefail", "-c", &script]), b"from stdin")
}

/// Returns the verdict: the last line of standard error.
fn verdict(ended: &Ended) -> &str {
    ended.err.lines().last().unwrap_or_default()
}

/// Returns the verdict without the duration.
fn verdict_without_time(ended: &Ended) -> &str {
    verdict(ended).rsplit_once(" in ").map_or(verdict(ended), |(text, _)| text)
}

#[test]
fn standard_input_and_output_belong_to_the_command() {
    let ended = shell(&[], "say az-load idle; say az-load loading_images; cat; say az-load ready");
    assert_eq!((ended.out.as_str(), ended.status), ("from stdin", Some(0)));
    assert_eq!(verdict_without_time(&ended), "READY: az-load");
    assert_eq!(ended.err.lines().next(), Some("az-load: loading_images"));
    let with_output = shell(&["-o", "-"], "say az-load ready");
    assert!(with_output.out.starts_with("READY: az-load in "), "{}", with_output.out);
}

#[test]
fn one_verdict_covers_all_stages_of_a_pipeline() {
    let script = r#"
        (say az-fetch idle; say az-fetch downloading_key; echo "curl: (22) 403" >&2; fail az-fetch not_permitted 77 "HTTP 403") |
        (say az-join idle; [ -n "$(cat)" ] || fail az-join no_input 65 "no fragment") |
        (say az-load idle; [ -n "$(cat)" ] || fail az-load no_input 65 "empty")"#;
    let ended = shell(&[], script);
    assert_eq!(
        verdict(&ended),
        "FAILED in az-fetch (downloading_key): HTTP 403. az-join, az-load stopped because of it."
    );
    assert_eq!(ended.status, Some(77));
    assert!(ended.err.lines().any(|line| line == "curl: (22) 403"), "{}", ended.err);
}

#[test]
fn the_order_of_the_lines_counts_not_the_clock() {
    let script = r#"
        PID=$$; date() { echo 2026-11-23T00:00:00.000Z; }
        say az-load idle; say az-fetch idle
        (fail az-load io 74 "disk full")
        date() { echo 2026-01-01T00:00:00.000Z; }
        (fail az-fetch temporary 75 "timed out")"#;
    let ended = shell(&[], script);
    assert_eq!(verdict(&ended), "FAILED in az-load (idle): disk full. Also in az-fetch (idle): timed out.");
}

#[test]
fn bad_data_is_the_cause_even_if_the_previous_stage_fails_later() {
    let script = r#"
        PID=$$; say az-fetch idle; say az-decrypt idle
        (fail az-decrypt corrupt 65 "segment 7 fails its check")
        (fail az-fetch temporary 75 "timed out")"#;
    let ended = shell(&[], script);
    assert!(verdict(&ended).starts_with("FAILED in az-decrypt (idle): segment 7 fails its check."), "{}", ended.err);
    assert_eq!(ended.status, Some(65));
}

#[test]
fn an_event_after_a_progress_meter_is_read() {
    let script = r#"
        PID=$$; say az-decrypt idle
        printf '\r  0 1000k\r 66 1000k' >&2; (fail az-decrypt corrupt 65 "segment 7")
        printf 'no meter ' >&2; (fail az-load io 74 "not read")
        printf '\r100 1000k\n' >&2; exit 65"#;
    let ended = shell(&[], script);
    assert_eq!((verdict(&ended), ended.status), ("FAILED in az-decrypt (idle): segment 7.", Some(65)));
    assert!(ended.err.lines().any(|line| line == " 66 1000k"), "{}", ended.err);
}

#[test]
fn a_failed_attempt_is_the_cause_if_the_command_has_its_exit_status() {
    let script = r#"
        (fail az-fetch not_permitted 77 "HTTP 403"); status=$?; say az-fetch idle; say az-fetch ready; exit $status"#;
    let ended = shell(&[], script);
    assert_eq!((verdict(&ended), ended.status), ("FAILED in az-fetch (idle): HTTP 403.", Some(77)));
    let other = shell(&[], &script.replace("$status", "3"));
    assert_eq!(verdict(&other), "FAILED: the command ended with 3 although every stage was ready");
}

#[test]
fn the_failure_of_the_command_is_reported_if_all_stages_are_ready() {
    let script = "say az-decrypt decrypting; say az-decrypt ready; echo 'Error: no space left' >&2; exit 3";
    let ended = shell(&[], script);
    assert_eq!(
        (verdict(&ended), ended.status),
        ("FAILED: the command ended with 3 although every stage was ready: Error: no space left", Some(3))
    );
    let silent = shell(&[], "say az-decrypt ready; exit 3");
    assert_eq!(verdict(&silent), "FAILED: the command ended with 3 although every stage was ready");
}

#[test]
fn a_sink_that_is_not_a_stage_is_the_cause_if_it_exits() {
    let script = r#"
        (say az-decrypt decrypting; fail az-decrypt reader_gone 141 "standard output: Broken pipe") |
        (echo "Cannot connect to the Docker daemon" >&2; exit 1)"#;
    let ended = shell(&["--json"], script);
    let json: serde_json::Value = serde_json::from_str(verdict(&ended)).unwrap();
    assert_eq!(
        json["verdict"],
        "FAILED after az-decrypt (decrypting): its reader exited and the command ended with 1: \
         Cannot connect to the Docker daemon."
    );
    assert_eq!(ended.status, Some(1));
}

#[test]
fn a_command_without_events_is_run() {
    assert_eq!(verdict(&shell(&[], "true")), "READY: the command ended with 0; no stage reported anything");
    let failed = shell(&[], "exit 9");
    assert_eq!(
        (verdict(&failed), failed.status),
        ("FAILED: the command ended with 9; no stage reported anything", Some(9))
    );
    let missing = run(az_status().args(["--", "/nonexistent/x"]), b"");
    assert_eq!(missing.status, Some(66));
}

/// Copies the shell to a file with the name of a stage, so that it is recognized as its process.
fn stage_shell(dir: &Path, stage: &str) -> String {
    let path = dir.join(stage);
    fs::copy("/bin/bash", &path).unwrap();
    path.display().to_string()
}

#[test]
fn a_killed_stage_is_the_cause_even_if_another_stage_reports_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let decrypt = stage_shell(dir.path(), "az-decrypt");
    fs::write(dir.path().join("functions"), FUNCTIONS).unwrap();
    let status_file = dir.path().join("status.json");
    // The stage dies only after its line was read, so that it was found alive. The sink reports an
    // error of its own after that.
    let script = format!(
        r#"
        ({decrypt} -c '. {dir}/functions; say az-decrypt idle; say az-decrypt decrypting; echo $$
            until grep -q decrypting {dir}/status.json; do :; done; kill -9 $$') |
        (say az-load idle; read pid; cat; for i in {{1..6000}}; do grep -q . /proc/$pid/cmdline 2>/dev/null || break; sleep 0.01; done
         fail az-load unavailable 69 "the previous stage does not respond")"#,
        dir = dir.path().display(),
    );
    let ended = shell(&["--status-file", status_file.to_str().unwrap()], &script);
    assert!(
        verdict(&ended).starts_with(
            "FAILED in az-decrypt (decrypting): killed: it ended without a final line. \
             Also in az-load (idle): the previous stage does not respond. Hint: "
        ),
        "{}",
        verdict(&ended)
    );
    assert_eq!(ended.status, Some(75));
}

#[test]
fn a_ready_process_does_not_hide_a_killed_one_of_the_same_stage() {
    // One dies without a final line while the other one runs, in both orders.
    for order in ["killed; ready", "ready; killed"] {
        let script = format!(
            r#"killed() {{ PID=1 say az-decrypt idle; }}
            ready() {{ PID=2 say az-decrypt idle; PID=2 say az-decrypt ready; }}
            {order}; say az-load idle; say az-load ready"#
        );
        let ended = shell(&[], &script);
        assert!(verdict(&ended).starts_with("FAILED in az-decrypt (idle): killed"), "{order}: {}", verdict(&ended));
        assert_eq!(ended.status, Some(75), "{order}");
    }
}

#[test]
fn a_stage_that_was_killed_and_restarted_is_not_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let decrypt = stage_shell(dir.path(), "az-decrypt");
    fs::write(dir.path().join("functions"), FUNCTIONS).unwrap();
    let path = dir.path().display();
    // It dies only after its line was read, so that it was found alive.
    let status_file = dir.path().join("status.json");
    let script = format!(
        r#"{decrypt} -c '. {path}/functions; say az-decrypt idle
            until grep -q az-decrypt {path}/status.json; do :; done; kill -9 $$'
        (say az-decrypt idle; say az-decrypt ready); exit STATUS"#
    );
    for (status, expected) in [("0", "READY: az-decrypt"), ("137", "FAILED in az-decrypt (idle): killed")] {
        let ended = shell(&["--status-file", status_file.to_str().unwrap()], &script.replace("STATUS", status));
        assert!(verdict(&ended).starts_with(expected), "{status}: {}", ended.err);
    }
}

#[test]
fn a_command_without_a_run_directory_gets_a_temporary_one() {
    let parent = tempfile::tempdir().unwrap();
    let set_dirs = |command: &mut Command| {
        command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", parent.path()).env_remove("AZ_RUN_DIR");
    };
    let mut command = az_status();
    set_dirs(&mut command);
    let script = "echo {} > $AZ_RUN_DIR/az-load.jsonl; stat -c '%n %a' $AZ_RUN_DIR";
    let ended = run(command.args(["--", "sh", "-c", script]), b"");
    let (path, mode) = ended.out.trim().rsplit_once(' ').unwrap();
    assert!(Path::new(path).starts_with(parent.path()) && mode == "700", "{}", ended.out);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "it is removed");
    let mut named = az_status();
    set_dirs(&mut named);
    let ended = run(named.env("AZ_RUN_DIR", "/named").args(["--", "sh", "-c", "echo $AZ_RUN_DIR"]), b"");
    assert_eq!(ended.out, "/named\n");

    // After a signal too.
    let mut command = az_status();
    set_dirs(&mut command);
    let mut child = command
        .args(["--", "sh", "-c", "echo $AZ_RUN_DIR; exec sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(Path::new(line.trim()).is_dir(), "{line}");
    signalled(child, "-TERM");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "it is removed");
}

#[test]
fn the_signal_is_named_if_the_exit_status_shows_it() {
    let killed = shell(&[], "say az-load idle; say az-load loading_images; kill -9 $$");
    assert!(
        verdict(&killed).starts_with("FAILED in az-load (loading_images): killed by SIGKILL before its final line. "),
        "{}",
        verdict(&killed)
    );
    assert_eq!(killed.status, Some(75));
    let crashed = shell(&[], "say az-load idle; kill -SEGV $$");
    assert!(verdict(&crashed).contains("crashed by SIGSEGV"), "{}", verdict(&crashed));
    assert_eq!(crashed.status, Some(70));
}

#[test]
fn stages_share_a_run_and_write_json_regardless_of_az_events() {
    let ended = run(
        az_status().env("AZ_EVENTS", "human").args(["--run", "mine", "--", "sh", "-c", "echo $AZ_RUN $AZ_EVENTS"]),
        b"",
    );
    assert_eq!(ended.out, "mine json\n");
}

#[test]
fn a_stage_without_the_common_run_is_included() {
    let script = r#"say az-decrypt decrypting; say az-decrypt ready; (unset AZ_RUN; AZ_RUN=other; fail az-load io 74 "disk full")"#;
    let ended = shell(&["--run", "mine"], script);
    assert_eq!((verdict(&ended), ended.status), ("FAILED in az-load (idle): disk full.", Some(74)));
}

#[test]
fn events_are_passed_on_with_az_events_json() {
    let script = format!("{FUNCTIONS} say az-load idle; say az-load ready; echo text >&2");
    let ended = run(az_status().env("AZ_EVENTS", "json").args(["--", "bash", "-c", &script]), b"");
    let lines: Vec<_> = ended.err.lines().collect();
    assert!(lines[0].starts_with("{\"v\":1,") && lines[1].contains("\"ready\""), "{lines:?}");
    assert_eq!(lines[2], "text");
    let off = run(az_status().env("AZ_EVENTS", "off").args(["--", "bash", "-c", &script]), b"");
    assert_eq!(off.err.lines().next(), Some("text"));
}

#[test]
fn a_process_that_keeps_standard_error_open_does_not_delay_the_verdict() {
    let ended = shell(&[], "say az-load ready; sleep 60 </dev/null >/dev/null & echo $!; exit 0");
    assert_eq!(verdict_without_time(&ended), "READY: az-load");
    // The process still runs: an ended one has no command line.
    let pid = ended.out.trim();
    assert!(!fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty());
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
}

#[test]
fn a_stage_that_outlives_the_command_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let load = stage_shell(dir.path(), "az-load");
    fs::write(dir.path().join("functions"), FUNCTIONS).unwrap();
    // As in `az-decrypt > >(az-load)`: bash does not wait for it.
    let dir = dir.path().display();
    let ended = shell(
        &[],
        &format!(
            "({load} -c '. {dir}/functions; say az-load loading_images; touch {dir}/up; sleep 4; say az-load ready') & \
             until [ -e {dir}/up ]; do :; done; exit 0"
        ),
    );
    assert_eq!((verdict_without_time(&ended), ended.status), ("READY: az-load", Some(0)));
}

/// Starts az-status with a script, and waits until the script prints READY on standard output.
fn started(script: &str, options: &[&str]) -> Child {
    let script = format!("{FUNCTIONS}{script}");
    let mut command: Command = az_status();
    command.args(options).args(["--", "bash", "-c", &script]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "READY\n");
    child
}

fn signalled(mut child: Child, signal: &str) -> (String, std::process::ExitStatus) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (err.lines().last().unwrap_or_default().to_owned(), child.wait().unwrap())
}

/// Starts the script, and sends the signal after the events of `stage` were read.
fn signalled_after(script: &str, stage: &str, signal: &str) -> (String, std::process::ExitStatus) {
    let dir = tempfile::tempdir().unwrap();
    let status_file = dir.path().join("status.json");
    let child = started(script, &["--status-file", status_file.to_str().unwrap()]);
    wait_until("the stage is in the status file", || {
        fs::read_to_string(&status_file).is_ok_and(|text| text.contains(stage))
    });
    signalled(child, signal)
}

#[test]
fn a_signal_to_az_status_stops_the_stages_before_the_verdict() {
    // A pipeline does not end when its shell does: both need the signal.
    let script = r#"
        (trap 'kill $sleep; fail az-fetch terminated 143 "stopped by SIGTERM"' TERM
         say az-fetch downloading_key; sleep 600 & sleep=$!; echo READY >&3; wait) 3>&1 >/dev/null | cat"#;
    for (signal, name, number) in [("-TERM", "SIGTERM", 15), ("-INT", "SIGINT", 2)] {
        let (verdict, status) = signalled(started(script, &["--json"]), signal);
        let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
        assert_eq!(verdict["verdict"], format!("STOPPED by {name}: az-fetch (downloading_key) did not end"));
        assert_eq!(verdict["stages"]["az-fetch"]["code"], "terminated", "az-status did not wait for the final line");
        assert_eq!(verdict["exit"], 128 + number);
        assert_eq!(status.signal(), Some(number), "a shell shows it as 128 plus the number");
    }
}

#[test]
fn stages_that_stop_before_az_status_are_not_failures() {
    let script = r#"(fail az-fetch interrupted 130 "stopped by SIGINT"); say az-load idle; echo READY; exec sleep 600"#;
    let (verdict, _) = signalled_after(script, "az-load", "-INT");
    assert_eq!(verdict, "STOPPED by SIGINT: az-fetch (idle), az-load (idle) did not end");
}

#[test]
fn a_signal_is_not_a_success_if_a_process_that_is_not_a_stage_still_runs() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!(
        "say az-decrypt decrypting; say az-decrypt ready; trap '' TERM
         (trap '' TERM; exec sleep 600) & echo $! > {}; echo READY; wait; wait",
        pid.display()
    );
    let (verdict, status) = signalled_after(&script, "az-decrypt", "-TERM");
    let pid = fs::read_to_string(pid).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    assert_eq!(verdict, "STOPPED by SIGTERM: processes were still running although every stage was ready");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn an_ignored_signal_stays_ignored_here_and_in_the_stages() {
    let script = "kill -HUP $PPID; grep SigIgn /proc/self/status; say az-load ready";
    let script = format!("trap '' HUP; exec \"$0\" -- bash -c '{FUNCTIONS}{script}'").replace("'{\"", "'{\"");
    let output = Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_az-status")]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.lines().last().unwrap_or_default().starts_with("READY: az-load"), "{err}");
    assert!(String::from_utf8(output.stdout).unwrap().trim().ends_with('1'));
}

#[test]
fn a_failure_before_the_signal_remains_the_cause() {
    let script =
        r#"(fail az-fetch not_found 66 "no such resource"); say az-load loading_images; echo READY; exec sleep 600"#;
    let (verdict, status) = signalled_after(script, "az-load", "-TERM");
    assert!(verdict.starts_with("FAILED in az-fetch (idle): no such resource."), "{verdict}");
    assert_eq!(status.signal(), Some(15));
}
