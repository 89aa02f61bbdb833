//! Links that break: the right bytes, or a prefix of them and a documented status.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says its figures")]

mod site;

use loader_testkit::{Faults, Side};
use site::{NAME, Site, random, small_part};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: usize = 1 << 20;

/// Threads that run commands.
const WORKERS: u64 = 4;

/// Where the bytes of a run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Stdout,
    File,
    Cached,
}

const WAYS: [Way; 3] = [Way::Stdout, Way::File, Way::Cached];

struct Ran {
    status: i32,
    bytes: Vec<u8>,
    events: String,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Longest silence in seconds that a run bears: short only if the link falls silent, since
/// a busy machine is silent for a while too.
fn idle(faults: &str) -> &'static str {
    if faults.contains("stall") { "2" } else { "60" }
}

/// A fetch into `folder`, which is made, over a link that does not fall silent.
fn command(site: &Site, way: Way, folder: &Path, args: &[&str]) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = site.command(args);
    command.arg(NAME).env("AZ_RETRY_WAIT", "0.02").env("AZ_IDLE_TIMEOUT", idle("")).env_remove("AZ_CACHE_DIR");
    match way {
        Way::Stdout => {}
        Way::File => drop(command.arg("-o").arg(folder.join("out"))),
        Way::Cached => drop(command.arg("--cache-dir").arg(folder.join("cache"))),
    }
    command.stdin(Stdio::null());
    command
}

/// A run over a link with these faults.
fn run(site: &Site, way: Way, folder: &Path, args: &[&str], faults: &str) -> Ran {
    site.faults().set(faults.parse().unwrap());
    let output = command(site, way, folder, args).env("AZ_IDLE_TIMEOUT", idle(faults)).output().unwrap();
    let bytes = if way == Way::File { std::fs::read(folder.join("out")).unwrap_or_default() } else { output.stdout };
    let events = String::from_utf8(output.stderr).unwrap();
    Ran { status: output.status.code().unwrap_or(-1), bytes, events }
}

/// Fails unless the bytes are right, or a prefix of the right ones where the
/// status says so; a file is whole or not there.
fn judge(site: &Site, way: Way, ran: &Ran, what: &str) {
    let whole = site.whole();
    if ran.status == 0 {
        assert!(ran.bytes == whole, "{what}: status 0 with other bytes\n{}", ran.events);
        return;
    }
    assert!([65, 69, 75, 76, 78].contains(&ran.status), "{what}: status {}\n{}", ran.status, ran.events);
    assert!(whole.starts_with(&ran.bytes), "{what}: bytes that are no prefix\n{}", ran.events);
    assert!(way != Way::File || ran.bytes.is_empty(), "{what}: a file under its name");
    assert_eq!(ran.events.matches("\"state\":\"error\"").count(), 1, "{what}: {}", ran.events);
}

/// After a failure the same command on a whole link ends well.
fn judge_again(site: &Site, way: Way, folder: &Path, args: &[&str], what: &str) {
    let again = run(site, way, folder, args, "");
    assert!(again.status == 0 && again.bytes == site.whole(), "{what}, again: {}", again.events);
}

/// Runs `work` for `0..count`, each thread with a site of its own.
fn side_by_side(count: u64, len: usize, work: impl Fn(&Site, u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(count) {
            scope.spawn(|| {
                let site = Site::proxied(len);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(&site, index);
                }
            });
        }
    });
}

/// Faults one at a time, and the status of a fetch to standard output.
const SINGLE: [(&str, i32); 41] = [
    ("reset@1MiB", 0),
    ("reset@200K,on=cdn", 0),
    ("reset@0,every=3,on=cdn", 0),
    ("reset,after=1,times=4", 0),
    ("reset,on=cdn", 75),
    ("reset,on=api", 75),
    ("reset@20,on=api,times=2", 0),
    ("reset-upload@5,on=api,times=2", 0),
    ("short@100K,on=cdn", 0),
    ("short,times=3", 0),
    ("short@20,on=api,times=2", 0),
    ("stall@100K,after=2,times=2", 0),
    ("stall,times=1", 0),
    ("stall-upload@5,on=api,times=1", 0),
    ("trickle@200K,rate=1M,times=3", 0),
    ("500,times=3", 0),
    ("500,on=cdn,every=2", 0),
    ("502,on=api", 75),
    ("503,on=cdn", 75),
    ("503,after=2,times=2,retry-after=1", 0),
    ("429,times=2,retry-after=0", 0),
    ("408,on=cdn,times=3", 0),
    ("wrong-range,on=cdn,after=2", 76),
    ("ignore-range,on=cdn", 0),
    ("ignore-range,on=cdn,after=3,every=2", 0),
    ("new-etag,on=cdn,after=3", 0),
    ("new-etag,on=cdn,every=2", 0),
    ("no-etag,on=cdn", 0),
    ("weak-etag,on=cdn", 0),
    ("bare-etag,on=cdn", 0),
    ("reset@50K,on=cdn,every=3;no-etag,on=cdn", 0),
    ("no-length,on=cdn", 0),
    ("no-total,on=cdn", 0),
    ("less,on=cdn", 0),
    ("less@1,on=cdn,times=20", 0),
    ("other-region,on=cdn", 78),
    ("redirect,on=cdn", 0),
    ("redirect,on=api", 76),
    ("redirect-loop,on=cdn", 76),
    ("gzip,on=cdn,after=2", 76),
    ("gzip,on=api", 76),
];

#[test]
fn each_fault_alone_ends_as_documented() {
    let args = ["--jobs", "3", "--chunk", "256K"];
    side_by_side((SINGLE.len() * WAYS.len()) as u64, 3 * MIB, |site, index| {
        let (faults, status) = SINGLE[index as usize / WAYS.len()];
        let way = WAYS[index as usize % WAYS.len()];
        let what = format!("{faults} {way:?}");
        // Into a file nothing has left when the object turns out to be another.
        let status = if status == 65 && way == Way::File { 0 } else { status };
        let fired = site.faults().fired();
        let folder = site.path(&format!("run{index}"));
        let ran = run(site, way, &folder, &args, faults);
        judge(site, way, &ran, &what);
        assert_eq!(ran.status, status, "{what}: {}", ran.events);
        assert!(!faults.starts_with("other-region") || ran.events.contains("eu-west-1"), "{what}: {}", ran.events);
        assert!(site.faults().fired() > fired, "{what}: no fault");
        assert_eq!(site.faults().leaked(), 0, "{what}: secrets went along");
        if status != 0 {
            judge_again(site, way, &folder, &args, &what);
        }
        std::fs::remove_dir_all(folder).unwrap();
    });
}

/// `AZ_TORTURE_RUNS=N` makes N runs, `AZ_TORTURE_SEED=N` begins with that seed.
#[test]
fn random_faults_end_right_or_documented() {
    let (runs, first) = (number("AZ_TORTURE_RUNS", 120), number("AZ_TORTURE_SEED", 1));
    let well = AtomicU64::new(0);
    side_by_side(runs, 3 * MIB, |site, index| {
        let seed = first + index;
        let faults = Faults::mix(seed);
        let way = WAYS[(seed % 3) as usize];
        let what = format!("AZ_TORTURE_SEED={seed} AZ_TORTURE_RUNS=1: {faults}, {way:?}");
        let jobs = (1 + seed % 5).to_string();
        let chunk = ["64K", "256K", "1M"][(seed / 5 % 3) as usize];
        let args = ["--jobs", &jobs, "--chunk", chunk];
        let folder = site.path(&format!("run{index}"));
        let ran = run(site, way, &folder, &args, &faults.to_string());
        judge(site, way, &ran, &what);
        assert_eq!(site.faults().leaked(), 0, "{what}: secrets went along");
        if ran.status == 0 {
            well.fetch_add(1, Ordering::Relaxed);
        } else {
            judge_again(site, way, &folder, &args, &what);
        }
        std::fs::remove_dir_all(folder).unwrap();
    });
    let well = well.into_inner();
    println!("{runs} runs from seed {first}: {well} right, {} with a documented status", runs - well);
    assert!(runs < 100 || well * 2 > runs, "the way through was found only {well} times in {runs}");
}

#[test]
fn a_link_that_breaks_every_mebibyte_costs_two_percent_at_most() {
    let site = Site::proxied(32 * MIB);
    for faults in ["short@1MiB,on=cdn", "reset@1MiB,on=cdn"] {
        let before = site.faults().sent(Side::Cdn);
        let ran = run(&site, Way::Stdout, &site.path("run"), &["--jobs", "6", "--chunk", "2M"], faults);
        assert!(ran.status == 0 && ran.bytes == site.whole(), "{faults}: {}", ran.events);
        let sent = site.faults().sent(Side::Cdn) - before;
        assert!(sent * 100 <= (32 * MIB as u64) * 102, "{faults}: {sent} bytes for 32 MiB");
        assert!(site.faults().fired() >= 24, "{faults}");
    }
}

#[test]
fn two_runs_at_once_take_the_bytes_of_one() {
    let site = Site::proxied(6 * MIB);
    let folder = site.path("run");
    let spawn = || {
        let mut command = command(&site, Way::Cached, &folder, &["--chunk", "512K"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs = [spawn(), spawn(), spawn()];
    std::thread::scope(|scope| {
        for run in runs {
            scope.spawn(|| {
                let output = run.wait_with_output().unwrap();
                assert!(output.status.success() && output.stdout == site.whole());
            });
        }
    });
    let sent = site.faults().sent(Side::Cdn);
    assert!(sent < (6 * MIB + 64 * 1024) as u64, "{sent}");
}

#[test]
fn a_release_that_replaces_another_comes_whole() {
    for way in WAYS {
        let mut site = Site::proxied(MIB);
        let next = random(7, MIB + 5);
        site.faults().set("stall,on=api,times=1".parse().unwrap());
        let ran = std::thread::scope(|scope| {
            let running = scope.spawn(|| command(&site, way, &site.path("run"), &[]).output().unwrap());
            // The old small part is on its way while the new release is put in place.
            site.faults().wait_stalled(1);
            replace(&site.server.objects_dir().join(format!("{NAME}.big")), &next);
            replace(&site.server.resources_dir().join(NAME), &small_part(&next));
            site.faults().release();
            running.join().unwrap()
        });
        let events = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success() && events.contains("start-over"), "{way:?}: {events}");
        site.big = next;
        let bytes = if way == Way::File { std::fs::read(site.path("run/out")).unwrap() } else { ran.stdout };
        assert!(bytes == site.whole(), "{way:?}");
    }
}

fn replace(path: &PathBuf, bytes: &[u8]) {
    let new = path.with_extension("tmp");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// `AZ_KILL_RUNS=N` makes N runs.
#[test]
fn a_run_that_was_killed_is_taken_up() {
    const LEN: usize = 6 * MIB;
    const JOBS: u64 = 3;
    const CHUNK: u64 = 256 << 10;
    let args = ["--jobs", "3", "--chunk", "256K"];
    let (runs, first) = (number("AZ_KILL_RUNS", 30), number("AZ_TORTURE_SEED", 1));
    let killed = AtomicU64::new(0);
    let most = AtomicU64::new(0);
    side_by_side(runs, LEN, |site, index| {
        let seed = first + index;
        let mut dice = random(seed as u32, 64).into_iter().map(u64::from);
        let mut roll = || dice.by_ref().skip(7).take(3).fold(0, |all, byte| all << 8 | byte);
        let folder = site.path(&format!("run{index}"));
        let before = site.faults().sent(Side::Cdn);
        let mut kills = 0;
        for _ in 0..1 + seed % 2 {
            let mut first = command(site, Way::Cached, &folder, &args);
            first.arg("-o").arg(folder.join("out")).stderr(Stdio::null());
            let mut child = first.spawn().unwrap();
            if seed % 3 == 0 {
                // At any time, also before the first byte and behind the last.
                std::thread::sleep(std::time::Duration::from_millis(roll() % 150));
            } else {
                let rest = (before + LEN as u64).saturating_sub(site.faults().sent(Side::Cdn));
                site.faults().wait_sent(Side::Cdn, site.faults().sent(Side::Cdn) + roll() % rest.max(1));
            }
            child.kill().unwrap();
            kills += u64::from(child.wait().unwrap().code().is_none());
            let out = std::fs::read(folder.join("out")).ok();
            assert!(out.is_none_or(|out| out == site.whole()), "AZ_TORTURE_SEED={seed}: a file that is not whole");
        }
        let mut again = command(site, Way::Cached, &folder, &args);
        let output = again.output().unwrap();
        let events = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout == site.whole(), "AZ_TORTURE_SEED={seed}: {events}");
        let extra = (site.faults().sent(Side::Cdn) - before).saturating_sub(LEN as u64);
        let heads = 64 * 1024;
        assert!(extra <= kills * JOBS * CHUNK + heads, "AZ_TORTURE_SEED={seed}: {extra} bytes again\n{events}");
        let left = std::fs::read_dir(folder.join("cache/models")).unwrap().count();
        assert_eq!(left, 2, "AZ_TORTURE_SEED={seed}: both parts and nothing else");
        killed.fetch_add(kills, Ordering::Relaxed);
        most.fetch_max(extra, Ordering::Relaxed);
        std::fs::remove_dir_all(folder).unwrap();
    });
    let (killed, most) = (killed.into_inner(), most.into_inner());
    println!("{runs} runs, {killed} kills: all right in the end, {most} bytes fetched again at most");
    assert!(killed * 2 >= runs, "only {killed} kills in {runs} runs");
}
