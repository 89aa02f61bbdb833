//! The status file, the logs and the metrics.

use crate::events::{az_status, error, line, recorded, run};
use loader_testkit::{file_names, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// 2026-11-23T08:23:00Z.
const EPOCH: &str = "1795422180";

#[test]
fn the_status_file_contains_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    let mut command = az_status();
    command.env("SOURCE_DATE_EPOCH", EPOCH).arg("--status-file").arg(&path).arg(recorded("upstream_refused"));
    assert_eq!(run(&mut command, b"").status, Some(77));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"v\":1,\"run\":\"5f0c2a91\",\"state\":\"error\",\"stages\":{\"az-login\":"), "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["updated"], "2026-11-23T08:23:00.000Z");
    assert_eq!(status["exit"], 77);
    assert_eq!(status["stages"]["az-load"]["code"], "no_input");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(file_names(dir.path()), ["status.json"], "no temporary file is left");
}

#[test]
fn polled_files_are_readable_by_all_users_regardless_of_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" --status-file s --prometheus s.prom --log-dir . -- true"]);
    command.arg(az_status().get_program()).current_dir(dir.path()).env("SOURCE_DATE_EPOCH", EPOCH);
    assert_eq!(run(&mut command, b"").status, Some(0));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("s"), mode("s.prom"), mode("log_loader_20261123.txt")), (0o644, 0o644, 0o600));
}

#[test]
fn the_status_file_follows_every_state_and_is_always_complete() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    let mut command = az_status();
    command.env("AZ_EVENTS", "off").arg("--status-file").arg(&path);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Polls until the stage is in the state.
    let poll = |stage: &str, state: &str| {
        let mut status = serde_json::Value::Null;
        wait_until("the stage is in the state", || {
            let Ok(text) = fs::read(&path) else { return false };
            status = serde_json::from_slice(&text).unwrap();
            stage.is_empty() || status["stages"][stage]["state"] == state
        });
        status
    };
    let first = poll("", "");
    assert_eq!((&first["state"], &first["run"]), (&"idle".into(), &serde_json::Value::Null));
    for (stage, pid, state, more, whole) in [
        ("az-load", 5, "idle", "", "idle"),
        ("az-login", 1, "authenticating", "", "authenticating"),
        ("az-login", 1, "ready", "", "authenticating"),
        ("az-fetch", 2, "downloading_key", "", "downloading_key"),
        ("az-load", 5, "loading_images", "", "loading_images"),
        ("az-load", 5, "ready", "", "loading_images"),
        // All stages are ready, but the pipe is open: another stage may start.
        ("az-fetch", 2, "ready", "", "loading_images"),
        // A consequence whose cause is not known yet.
        ("az-push", 9, "error", &error("no_input", 65, "empty"), "loading_images"),
        ("az-hwid", 8, "error", &error("io", 74, "disk full"), "error"),
    ] {
        stdin.write_all(line(0, stage, pid, state, more).as_bytes()).unwrap();
        let status = poll(stage, state);
        assert_eq!((&status["state"], &status["run"]), (&whole.into(), &"r1".into()), "{stage} {state}");
        assert!(status.get("verdict").is_none());
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(74), "all timestamps are equal: the stage's own error is the cause");
}

#[test]
fn an_unwritable_directory_is_reported_before_the_command_runs() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("ran");
    for option in ["--status-file", "--prometheus", "--log-dir", "-o"] {
        let mut command = az_status();
        command.args([option, "/proc/nothing/here", "--", "touch"]).arg(&marker);
        let ended = run(&mut command, b"");
        assert_eq!(ended.status, Some(73), "{option}: {}", ended.err);
        assert!(!marker.exists());
    }
}

#[test]
fn logs_are_daily_and_old_ones_are_removed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for day in ["20261109", "20261110", "20261120", "20261122", "20991231"] {
        fs::write(dir.path().join(format!("log_loader_{day}.txt")), "old\n").unwrap();
    }
    fs::write(dir.path().join("log_loader_20261131.txt"), "no such day").unwrap();
    fs::write(dir.path().join("log_loader_1.txt"), "other").unwrap();
    let mut command = az_status();
    command.env("SOURCE_DATE_EPOCH", EPOCH).env("AZ_EVENTS", "off");
    command.args(["--log-keep", "3", "--log-dir"]).arg(dir.path());
    let input = b"text \x1b\xff\n".to_vec();
    let events = line(0, "az-load", 1, "idle", "") + &line(1, "az-load", 1, "ready", "");
    assert_eq!(run(&mut command, &[input.clone(), events.clone().into_bytes()].concat()).status, Some(0));
    assert_eq!(
        file_names(dir.path()),
        [
            "log_loader_1.txt",
            "log_loader_20261122.txt",
            "log_loader_20261123.txt",
            "log_loader_20261131.txt",
            "log_loader_20991231.txt"
        ]
    );
    let log = dir.path().join("log_loader_20261123.txt");
    let verdict = "2026-11-23T08:23:00.000Z az-status: READY: az-load in 0.0 s\n";
    assert_eq!(fs::read(&log).unwrap(), [input, events.into_bytes(), verdict.into()].concat());
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Checks a file in the Prometheus text format line by line, and returns its samples.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut typed = Vec::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, more) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "HELP" => assert!(!more.is_empty()),
                "TYPE" => {
                    assert!(["gauge", "counter"].contains(&more), "{line}");
                    assert_eq!(more == "counter", name.ends_with("_total"), "{line}");
                    assert!(!typed.contains(&name), "{name} has two types");
                    typed.push(name);
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert_eq!(typed.last(), Some(&name), "a sample follows its type: {line}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let inside = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix("\"}")).unwrap();
            let (key, text) = inside.split_once("=\"").unwrap();
            assert!(key.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
            assert!(!text.contains(['"', '\\', '\n']), "{line}");
        }
        assert!(!samples.iter().any(|(other, _)| other == series), "{series} comes twice");
        samples.push((series.to_owned(), value.parse().unwrap()));
    }
    assert!(text.ends_with('\n'));
    samples
}

#[test]
fn metrics_are_valid_and_keep_the_last_success() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("az.prom");
    let watch = |name: &str, epoch: &str| {
        let mut command = az_status();
        command.env("SOURCE_DATE_EPOCH", epoch).arg("--prometheus").arg(&path).arg(recorded(name));
        run(&mut command, b"");
        samples(&fs::read_to_string(&path).unwrap())
    };
    let value = |samples: &[(String, f64)], series: &str| {
        samples.iter().find(|(name, _)| name == series).map(|(_, value)| *value)
    };
    let failed = watch("sink_disk_full", EPOCH);
    assert_eq!(value(&failed, "az_unlock_last_success_timestamp_seconds"), None);

    let ready = watch("all_ready", EPOCH);
    assert_eq!(value(&ready, "az_unlock_last_success_timestamp_seconds"), Some(1_795_422_180.0));
    assert_eq!(value(&ready, "az_unlock_state{state=\"ready\"}"), Some(1.0));
    assert_eq!(ready.iter().filter(|(name, _)| name.starts_with("az_unlock_state{")).count(), 7);
    assert_eq!(value(&ready, "az_unlock_duration_seconds"), Some(4.2));
    assert_eq!(value(&ready, "az_stage_bytes_total{stage=\"az-decrypt\"}"), Some(100_689_920.0));
    assert_eq!(value(&ready, "az_stage_exit_code{stage=\"az-load\"}"), Some(0.0));

    let failed = watch("sink_disk_full", "1795430000");
    assert_eq!(value(&failed, "az_unlock_last_success_timestamp_seconds"), Some(1_795_422_180.0));
    assert_eq!(value(&failed, "az_unlock_state{state=\"ready\"}"), Some(0.0));
    assert_eq!(value(&failed, "az_unlock_state{state=\"error\"}"), Some(1.0));
    assert_eq!(value(&failed, "az_unlock_exit_code"), Some(74.0));
    assert_eq!(value(&failed, "az_stage_exit_code{stage=\"az-load\"}"), Some(74.0));
    assert_eq!(value(&failed, "az_stage_exit_code{stage=\"az-decrypt\"}"), Some(141.0));

    // During the next run, the metrics contain the end of the last one.
    let mut command = az_status();
    command.args(["--prometheus", "az.prom", "--", "cat", "az.prom"]).current_dir(dir.path());
    let during = samples(&run(&mut command, b"").out);
    assert_eq!(value(&during, "az_unlock_state{state=\"idle\"}"), Some(1.0));
    assert_eq!(value(&during, "az_unlock_exit_code"), Some(74.0));
    assert_eq!(value(&during, "az_unlock_last_success_timestamp_seconds"), Some(1_795_422_180.0));

    let twice = watch("one_stage_twice", EPOCH);
    assert_eq!(value(&twice, "az_stage_exit_code{stage=\"az-fetch\"}"), Some(66.0));
    assert_eq!(value(&twice, "az_stage_exit_code{stage=\"az-fetch#2\"}"), Some(0.0));
    assert_eq!(file_names(dir.path()), ["az.prom"]);
}

#[test]
fn a_recorded_run_does_not_write_files_that_only_a_setting_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let set = || {
        let mut command = az_status();
        for (name, file) in [("AZ_STATUS_FILE", "status"), ("AZ_LOG_DIR", "logs"), ("AZ_PROMETHEUS", "az.prom")] {
            command.env(name, dir.path().join(file));
        }
        command
    };
    let ended = run(set().arg(recorded("all_ready")), b"");
    assert_eq!((ended.status, file_names(dir.path())), (Some(0), Vec::new()), "{}", ended.err);
    let live = run(&mut set(), &fs::read(recorded("all_ready")).unwrap());
    assert_eq!(live.status, Some(0), "{}", live.err);
    assert_eq!(file_names(dir.path()), ["az.prom", "logs", "status"]);
}

#[test]
fn the_verdict_is_written_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("verdict");
    let ended = run(az_status().arg("-o").arg(&path).arg(recorded("all_ready")), b"");
    assert_eq!((ended.out.as_str(), ended.status), ("", Some(0)));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "READY: az-login, az-fetch, az-join, az-decrypt, az-load in 4.2 s\n"
    );
}
