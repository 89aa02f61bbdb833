//! Tests of broken connections during a push: it succeeds or ends with a documented status, and
//! the next run succeeds.
#![allow(clippy::print_stdout, reason = "the test prints statistics")]

use crate::fixture::{NAME, PushFixture, file, sealed};
use loader_testkit::{Faults, Finished, Side, run_concurrently};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: usize = 1 << 20;

/// Threads that run commands.
const WORKERS: u64 = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Returns the command of a push in parts of 5 MiB, with a state directory if `resumes`.
fn command(fixture: &PushFixture, resumes: bool) -> Command {
    let mut command = fixture.command("uploader", &["--part", "5M", "--jobs", "2", "--replace"]);
    command.env("AZ_RETRY_WAIT", "0.02").env("AZ_IDLE_TIMEOUT", "60").env("AZ_RETRIES", "4");
    if resumes {
        command.arg("--state-dir").arg(fixture.path("state"));
    }
    command
}

/// Pushes `stream` over a link with these faults. The idle timeout is short only if the link
/// stalls: a busy machine is silent for some time too.
fn push(fixture: &PushFixture, resumes: bool, stream: &[u8], faults: &str) -> Finished {
    fixture.faults().set(faults.parse().unwrap());
    let mut command = command(fixture, resumes);
    if faults.contains("stall") {
        command.env("AZ_IDLE_TIMEOUT", "3");
    }
    fixture.push_with(command, stream)
}

/// Asserts that the release is published, or that the status is documented and no mix can be
/// read; in the second case also that the next run without faults succeeds.
fn assert_documented_outcome(fixture: &PushFixture, resumes: bool, stream: &[u8], run: &Finished, what: &str) {
    if run.status == 0 {
        assert!(fixture.published() == stream, "{what}: wrong bytes are published\n{}", run.stderr);
        assert_eq!(run.json()["changed"], true, "{what}");
        return;
    }
    assert!([65, 69, 75, 76, 78].contains(&run.status), "{what}: status {}\n{}", run.status, run.stderr);
    assert_eq!(run.stderr.matches("\"state\":\"error\"").count(), 1, "{what}: {}", run.stderr);
    let small = fixture.resource(NAME);
    assert!(
        !small.exists() || fixture.published() == stream,
        "{what}: the small part is published without its big part"
    );
    let again = push(fixture, resumes, stream, "");
    assert!(again.status == 0 && fixture.published() == stream, "{what}, again: {}", again.stderr);
}

/// Single faults and their exit status.
const SINGLE: [(&str, i32); 38] = [
    ("reset-upload@1MiB,on=cdn,times=2", 0),
    ("reset-upload@0,on=cdn,times=3", 0),
    ("reset-upload@4MiB,on=cdn,every=2", 0),
    ("reset-upload@1MiB,on=cdn", 75),
    ("reset-upload@1MiB,on=api,times=2", 0),
    ("reset-upload@1MiB,on=api", 75),
    ("stall-upload@2MiB,on=cdn,times=1", 0),
    ("reset,times=3", 0),
    ("reset,on=cdn,method=PUT,every=2", 0),
    ("reset,on=cdn,method=POST,times=1", 0),
    ("reset,on=cdn,method=POST,after=1,times=1", 0),
    ("reset,on=api,method=POST,times=1", 0),
    ("reset,on=api", 75),
    ("short,on=cdn,times=3", 0),
    ("short@10,on=cdn,method=POST,after=1,times=1", 0),
    ("stall,on=cdn,method=PUT,times=1", 0),
    ("500,on=cdn,every=2", 0),
    ("503,on=cdn", 75),
    ("503,on=api,times=2,retry-after=1", 0),
    ("429,times=3", 0),
    ("redirect,on=cdn,method=PUT", 76),
    ("redirect-loop,on=api,method=POST", 76),
    ("gzip,on=cdn,method=POST", 76),
    ("gzip,on=api", 76),
    ("new-etag,on=cdn,method=HEAD", 0),
    ("weak-etag,on=cdn,method=HEAD", 0),
    ("weak-etag,on=cdn", 0),
    ("bare-etag,on=cdn", 0),
    ("no-etag,on=cdn,method=HEAD", 0),
    ("no-length,on=cdn", 0),
    // The store never reports the size of the big part.
    ("no-length,on=cdn,method=HEAD;no-total,on=cdn,method=GET", 0),
    ("405,on=cdn,method=HEAD", 0),
    ("no-checksum,on=cdn", 0),
    ("late-error,on=cdn,method=POST,times=2", 0),
    ("late-error,on=cdn,method=POST,after=1,times=2", 0),
    ("late-error,on=cdn,method=POST,after=1", 75),
    ("400,on=cdn,method=POST,times=1", 0),
    ("other-region,on=cdn,method=POST", 78),
];

#[test]
fn single_faults_end_with_the_documented_status() {
    let stream = sealed(12 * MIB, false, Some(1));
    run_concurrently(
        SINGLE.len() as u64,
        WORKERS,
        || (),
        |(), index| {
            let (faults, status) = SINGLE[index as usize];
            let (fixture, resumes) = (PushFixture::proxied(), index % 2 == 0);
            let run = push(&fixture, resumes, &stream, faults);
            assert_eq!(run.status, status, "{faults}: {}", run.stderr);
            assert!(fixture.faults().fired() > 0, "{faults}: no fault was injected");
            assert_documented_outcome(&fixture, resumes, &stream, &run, faults);
            assert_eq!(fixture.faults().leaked(), 0, "{faults}: secrets were sent");
        },
    );
}

/// `AZ_TORTURE_RUNS=N` sets the number of runs, `AZ_TORTURE_SEED=N` the first seed.
#[test]
fn random_faults_end_with_success_or_a_documented_status() {
    let (runs, first) = (number("AZ_TORTURE_RUNS", 80), number("AZ_TORTURE_SEED", 1));
    let streams = [sealed(5 * MIB, true, Some(1)), sealed(12 * MIB, false, Some(2))];
    let succeeded = AtomicU64::new(0);
    run_concurrently(
        runs,
        WORKERS,
        || (),
        |(), index| {
            let seed = first + index;
            let (faults, fixture, resumes) = (Faults::mix(seed), PushFixture::proxied(), seed % 2 == 0);
            let what = format!("AZ_TORTURE_SEED={seed} AZ_TORTURE_RUNS=1: {faults}");
            let stream = &streams[(seed / 2 % 2) as usize];
            let run = push(&fixture, resumes, stream, &faults.to_string());
            succeeded.fetch_add(u64::from(run.status == 0), Ordering::Relaxed);
            assert_documented_outcome(&fixture, resumes, stream, &run, &what);
            assert_eq!(fixture.faults().leaked(), 0, "{what}: secrets were sent");
        },
    );
    let succeeded = succeeded.into_inner();
    println!("{runs} runs from seed {first}: {succeeded} succeeded, {} with a documented status", runs - succeeded);
    assert!(runs < 50 || succeeded * 2 > runs, "only {succeeded} of {runs} runs succeeded");
}

/// `AZ_KILL_RUNS=N` sets the number of runs.
#[test]
fn killed_push_is_resumed() {
    const PART: u64 = 5 << 20;
    const JOBS: u64 = 2;
    let stream = sealed(22 * MIB, true, Some(1));
    let big = (stream.len() - 3 * MIB) as u64;
    let (runs, first) = (number("AZ_KILL_RUNS", 20), number("AZ_TORTURE_SEED", 1));
    let (killed, most) = (AtomicU64::new(0), AtomicU64::new(0));
    run_concurrently(
        runs,
        WORKERS,
        || (),
        |(), index| {
            let seed = first + index;
            let fixture = PushFixture::proxied();
            let path = file(&fixture.path("sealed"), &stream);
            let run = || {
                let mut command = command(&fixture, true);
                command.arg(NAME).arg(&path).stdin(Stdio::null());
                command
            };
            let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let point = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            if seed % 3 == 0 {
                // At any time, also before the first byte or after the last.
                std::thread::sleep(std::time::Duration::from_millis(point % 600));
            } else {
                fixture.faults().wait_received(Side::Cdn, point % big);
            }
            child.kill().unwrap();
            let kills = u64::from(child.wait().unwrap().code().is_none());
            let small = fixture.resource(NAME);
            assert!(
                !small.exists() || fixture.published() == stream,
                "AZ_TORTURE_SEED={seed}: the small part was published too early"
            );
            let again = loader_testkit::run(run(), b"");
            assert!(again.status == 0 && fixture.published() == stream, "AZ_TORTURE_SEED={seed}: {}", again.stderr);
            let extra = fixture.faults().received(Side::Cdn).saturating_sub(big);
            // Add the requests that start and complete the upload.
            assert!(extra <= kills * JOBS * PART + 4096, "AZ_TORTURE_SEED={seed}: {extra} again\n{}", again.stderr);
            killed.fetch_add(kills, Ordering::Relaxed);
            most.fetch_max(extra, Ordering::Relaxed);
        },
    );
    let (killed, most) = (killed.into_inner(), most.into_inner());
    println!("{runs} runs, {killed} kills: all succeeded in the end, at most {most} bytes were sent again");
    assert!(killed * 2 >= runs, "only {killed} kills in {runs} runs");
}

/// Returns an event line of a stage in the run directory.
fn line(state: &str, error: &str) -> String {
    format!(
        "{{\"v\":1,\"ts\":\"2026-11-23T08:23:00.123Z\",\"run\":\"r1\",\"stage\":\"az-encrypt\",\"pid\":1,\"state\":\"{state}\"{error}}}\n"
    )
}

#[test]
fn failed_upstream_stage_publishes_nothing() {
    let stream = sealed(12 * MIB, false, None);
    // The end of the last segment is missing, which the stream itself does not reveal.
    let cut = &stream[..stream.len() - MIB / 2];
    let failed = line("error", ",\"error\":{\"code\":\"io\",\"exit\":74,\"message\":\"disk\"}");
    for (lines, status, words) in [
        (line("idle", ""), 75, "az-encrypt wrote no final event"),
        (line("idle", "") + &failed, 74, "az-encrypt failed: disk; nothing was published"),
        (line("idle", "") + &line("ready", ""), 0, "\"upstream\":\"ready\""),
    ] {
        let fixture = PushFixture::proxied();
        let run_dir = fixture.path("run");
        std::fs::create_dir(&run_dir).unwrap();
        // An ended process: no process id is that large.
        let lines = lines.replace("\"pid\":1", "\"pid\":999999999");
        std::fs::write(run_dir.join("az-encrypt.jsonl"), lines).unwrap();
        let mut command = command(&fixture, false);
        command.env("AZ_RUN", "r1").env("AZ_RUN_DIR", &run_dir);
        let run = fixture.push_with(command, if status == 0 { &stream } else { cut });
        assert!(run.status == status && run.stderr.contains(words), "{}", run.stderr);
        assert_eq!(fixture.resource(NAME).exists(), status == 0);
        assert_eq!(fixture.object(NAME).exists(), status == 0);
    }
}

/// A proxy removes the quotes from the ETags in the list of parts.
#[test]
fn push_is_resumed_if_listed_etags_have_no_quotes() {
    let stream = sealed(22 * MIB, true, Some(1));
    let fixture = PushFixture::proxied();
    fixture.faults().set("503,on=cdn,method=PUT,after=2".parse().unwrap());
    let run = || {
        let mut command = fixture.command("uploader", &["--part", "5M", "--jobs", "1"]);
        command.env("AZ_RETRY_WAIT", "0.02").arg("--state-dir").arg(fixture.path("state"));
        command
    };
    assert_eq!(fixture.push_with(run(), &stream).status, 75);
    fixture.faults().set("bare-etag,on=cdn".parse().unwrap());
    let again = fixture.push_with(run(), &stream);
    assert!(again.status == 0 && fixture.published() == stream, "{}", again.stderr);
    let resumed = format!("\"step\":\"resumed\",\"detail\":{{\"size\":{}}}", 10 << 20);
    assert!(again.stderr.contains(&resumed), "{}", again.stderr);
}

#[test]
fn older_release_needs_replace() {
    let fixture = PushFixture::new();
    let [one, two, other] = [(12, 1), (13, 2), (14, 2)].map(|(len, release)| sealed(len * MIB, true, Some(release)));
    assert_eq!(fixture.push(&["--release", "1"], &one).status, 0);
    let newer = fixture.push(&["--release", "2"], &two);
    assert!(newer.status == 0 && fixture.published() == two, "{}", newer.stderr);
    for (args, stream, words) in [
        (&["--release", "1"][..], &one, "published: 2, and this is 1"),
        (&["--release", "2"], &other, "published: 2, and this is 2"),
        (&[], &other, "published: 2"),
    ] {
        let refused = fixture.push(args, stream);
        assert!(refused.status == 73 && refused.stderr.contains(words), "{}", refused.stderr);
        assert!(fixture.published() == two);
    }
    assert_eq!(fixture.push(&["--release", "1", "--replace"], &one).status, 0);
    assert!(fixture.published() == one);
}
