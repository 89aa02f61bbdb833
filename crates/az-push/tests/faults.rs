//! Links that break under a push: all of it is published, or a documented status
//! says why not, and the next run ends well.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says its figures")]

mod site;

use loader_testkit::{Faults, Side};
use site::{NAME, Ran, Site, file, sealed};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: usize = 1 << 20;

/// Threads that run commands.
const WORKERS: u64 = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A push in parts of 5 MiB, with a state folder where `resumes`.
fn command(site: &Site, resumes: bool) -> Command {
    let mut command = site.command("uploader", &["--part", "5M", "--jobs", "2", "--replace"]);
    command.env("AZ_RETRY_WAIT", "0.02").env("AZ_IDLE_TIMEOUT", "60").env("AZ_RETRIES", "4");
    if resumes {
        command.arg("--state-dir").arg(site.path("state"));
    }
    command
}

/// A push of `stream` over a link with these faults. A short silence ends a connection
/// only if the link falls silent: a busy machine is silent for a while too.
fn push(site: &Site, resumes: bool, stream: &[u8], faults: &str) -> Ran {
    site.faults().set(faults.parse().unwrap());
    let mut command = command(site, resumes);
    if faults.contains("stall") {
        command.env("AZ_IDLE_TIMEOUT", "3");
    }
    site.push_with(command, stream)
}

/// Fails unless all is published, or a documented status says that it is not and
/// nobody reads a mix; and unless the next run on a whole link ends well.
fn judge(site: &Site, resumes: bool, stream: &[u8], ran: &Ran, what: &str) {
    if ran.status == 0 {
        assert!(site.published() == stream, "{what}: something else is published\n{}", ran.events);
        assert_eq!(ran.receipt["changed"], true, "{what}");
        return;
    }
    assert!([65, 69, 75, 76, 78].contains(&ran.status), "{what}: status {}\n{}", ran.status, ran.events);
    assert_eq!(ran.events.matches("\"state\":\"error\"").count(), 1, "{what}: {}", ran.events);
    let small = site.server.resources_dir().join(NAME);
    assert!(!small.exists() || site.published() == stream, "{what}: a small part without its big one");
    let again = push(site, resumes, stream, "");
    assert!(again.status == 0 && site.published() == stream, "{what}, again: {}", again.events);
}

/// Runs `work` for `0..count` on a few threads.
fn side_by_side(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}

/// Faults one at a time, and the status.
const SINGLE: [(&str, i32); 37] = [
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
    ("405,on=cdn,method=HEAD", 0),
    ("no-checksum,on=cdn", 0),
    ("late-error,on=cdn,method=POST,times=2", 0),
    ("late-error,on=cdn,method=POST,after=1,times=2", 0),
    ("late-error,on=cdn,method=POST,after=1", 75),
    ("400,on=cdn,method=POST,times=1", 0),
    ("other-region,on=cdn,method=POST", 78),
];

#[test]
fn each_fault_alone_ends_as_documented() {
    let stream = sealed(12 * MIB, false, Some(1));
    side_by_side(SINGLE.len() as u64, |index| {
        let (faults, status) = SINGLE[index as usize];
        let (site, resumes) = (Site::proxied(), index % 2 == 0);
        let ran = push(&site, resumes, &stream, faults);
        assert_eq!(ran.status, status, "{faults}: {}", ran.events);
        assert!(site.faults().fired() > 0, "{faults}: no fault");
        judge(&site, resumes, &stream, &ran, faults);
        assert_eq!(site.faults().leaked(), 0, "{faults}: secrets went along");
    });
}

/// `AZ_TORTURE_RUNS=N` makes N runs, `AZ_TORTURE_SEED=N` begins with that seed.
#[test]
fn random_faults_end_right_or_documented() {
    let (runs, first) = (number("AZ_TORTURE_RUNS", 80), number("AZ_TORTURE_SEED", 1));
    let streams = [sealed(5 * MIB, true, Some(1)), sealed(12 * MIB, false, Some(2))];
    let well = AtomicU64::new(0);
    side_by_side(runs, |index| {
        let seed = first + index;
        let (faults, site, resumes) = (Faults::mix(seed), Site::proxied(), seed % 2 == 0);
        let what = format!("AZ_TORTURE_SEED={seed} AZ_TORTURE_RUNS=1: {faults}");
        let stream = &streams[(seed / 2 % 2) as usize];
        let ran = push(&site, resumes, stream, &faults.to_string());
        well.fetch_add(u64::from(ran.status == 0), Ordering::Relaxed);
        judge(&site, resumes, stream, &ran, &what);
        assert_eq!(site.faults().leaked(), 0, "{what}: secrets went along");
    });
    let well = well.into_inner();
    println!("{runs} runs from seed {first}: {well} right, {} with a documented status", runs - well);
    assert!(runs < 50 || well * 2 > runs, "the way through was found only {well} times in {runs}");
}

/// `AZ_KILL_RUNS=N` makes N runs.
#[test]
fn a_push_that_was_killed_is_taken_up() {
    const PART: u64 = 5 << 20;
    const JOBS: u64 = 2;
    let stream = sealed(22 * MIB, true, Some(1));
    let big = (stream.len() - 3 * MIB) as u64;
    let (runs, first) = (number("AZ_KILL_RUNS", 20), number("AZ_TORTURE_SEED", 1));
    let (killed, most) = (AtomicU64::new(0), AtomicU64::new(0));
    side_by_side(runs, |index| {
        let seed = first + index;
        let site = Site::proxied();
        let path = file(&site.path("sealed"), &stream);
        let run = || {
            let mut command = command(&site, true);
            command.arg(NAME).arg(&path).stdin(Stdio::null());
            command
        };
        let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let point = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        if seed % 3 == 0 {
            // At any time, also before the first byte and behind the last.
            std::thread::sleep(std::time::Duration::from_millis(point % 600));
        } else {
            site.faults().wait_received(Side::Cdn, point % big);
        }
        child.kill().unwrap();
        let kills = u64::from(child.wait().unwrap().code().is_none());
        let small = site.server.resources_dir().join(NAME);
        assert!(!small.exists() || site.published() == stream, "AZ_TORTURE_SEED={seed}: a small part too early");
        let again = site::ran(run().output().unwrap());
        assert!(again.status == 0 && site.published() == stream, "AZ_TORTURE_SEED={seed}: {}", again.events);
        let extra = site.faults().received(Side::Cdn).saturating_sub(big);
        // Beside the parts, what completes them and begins them.
        assert!(extra <= kills * JOBS * PART + 4096, "AZ_TORTURE_SEED={seed}: {extra} again\n{}", again.events);
        killed.fetch_add(kills, Ordering::Relaxed);
        most.fetch_max(extra, Ordering::Relaxed);
    });
    let (killed, most) = (killed.into_inner(), most.into_inner());
    println!("{runs} runs, {killed} kills: all right in the end, {most} bytes sent again at most");
    assert!(killed * 2 >= runs, "only {killed} kills in {runs} runs");
}

/// The line that a stage leaves in the folder of the run.
fn line(state: &str, error: &str) -> String {
    format!(
        "{{\"v\":1,\"ts\":\"2026-11-23T08:23:00.123Z\",\"run\":\"r1\",\"stage\":\"az-encrypt\",\"pid\":1,\"state\":\"{state}\"{error}}}\n"
    )
}

#[test]
fn a_stage_before_that_did_not_end_well_publishes_nothing() {
    let stream = sealed(12 * MIB, false, None);
    // Cut at the end of a segment, which nothing in the stream itself tells.
    let cut = &stream[..stream.len() - MIB / 2];
    let failed = line("error", ",\"error\":{\"code\":\"io\",\"exit\":74,\"message\":\"disk\"}");
    for (lines, status, words) in [
        (line("idle", ""), 75, "az-encrypt wrote no final event"),
        (line("idle", "") + &failed, 74, "az-encrypt failed: disk; nothing was published"),
        (line("idle", "") + &line("ready", ""), 0, "\"upstream\":\"ready\""),
    ] {
        let site = Site::proxied();
        let folder = site.path("run");
        std::fs::create_dir(&folder).unwrap();
        // A process that is gone: no id is as large as this.
        let lines = lines.replace("\"pid\":1", "\"pid\":999999999");
        std::fs::write(folder.join("az-encrypt.jsonl"), lines).unwrap();
        let mut command = command(&site, false);
        command.env("AZ_RUN", "r1").env("AZ_RUN_DIR", &folder);
        let ran = site.push_with(command, if status == 0 { &stream } else { cut });
        assert!(ran.status == status && ran.events.contains(words), "{}", ran.events);
        assert_eq!(site.server.resources_dir().join(NAME).exists(), status == 0);
        assert_eq!(site.object().exists(), status == 0);
    }
}

/// A proxy takes the quotes of the ETags in the list of parts.
#[test]
fn a_push_goes_on_where_the_list_of_parts_has_other_etags() {
    let stream = sealed(22 * MIB, true, Some(1));
    let site = Site::proxied();
    site.faults().set("503,on=cdn,method=PUT,after=2".parse().unwrap());
    let run = || {
        let mut command = site.command("uploader", &["--part", "5M", "--jobs", "1"]);
        command.env("AZ_RETRY_WAIT", "0.02").arg("--state-dir").arg(site.path("state"));
        command
    };
    assert_eq!(site.push_with(run(), &stream).status, 75);
    site.faults().set("bare-etag,on=cdn".parse().unwrap());
    let again = site.push_with(run(), &stream);
    assert!(again.status == 0 && site.published() == stream, "{}", again.events);
    let resumed = format!("\"step\":\"resumed\",\"detail\":{{\"size\":{}}}", 10 << 20);
    assert!(again.events.contains(&resumed), "{}", again.events);
}

#[test]
fn a_release_only_grows() {
    let site = Site::new();
    let [one, two, other] = [(12, 1), (13, 2), (14, 2)].map(|(len, release)| sealed(len * MIB, true, Some(release)));
    assert_eq!(site.push(&["--release", "1"], &one).status, 0);
    let newer = site.push(&["--release", "2"], &two);
    assert!(newer.status == 0 && site.published() == two, "{}", newer.events);
    for (args, stream, words) in [
        (&["--release", "1"][..], &one, "published: 2, and this is 1"),
        (&["--release", "2"], &other, "published: 2, and this is 2"),
        (&[], &other, "published: 2"),
    ] {
        let refused = site.push(args, stream);
        assert!(refused.status == 73 && refused.events.contains(words), "{}", refused.events);
        assert!(site.published() == two);
    }
    assert_eq!(site.push(&["--release", "1", "--replace"], &one).status, 0);
    assert!(site.published() == one);
}
