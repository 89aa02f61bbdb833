//! Runs that end early, meet, or have no network.
#![allow(clippy::unwrap_used)]

mod site;

use loader_testkit::Faults;
use site::{NAME, SMALL, Site, random};
use std::io::Read;
use std::process::Stdio;

const MIB: usize = 1 << 20;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_killed_run_is_taken_up_where_it_was_durable() {
    let site = Site::new(24 * MIB);
    let args = [NAME, "--jobs", "2", "--chunk", "1M"];
    let mut first = site.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut front = vec![0; 18 * MIB];
    first.stdout.as_mut().unwrap().read_exact(&mut front).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(front == site.whole()[..18 * MIB]);

    let before = site.ranges().len();
    let again = site.run(&args);
    assert!(again.status.success() && again.stdout == site.whole(), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("\"resumed_at\":"), "{}", text(&again.stderr));
    let least = *site.ranges()[before..].iter().min().unwrap();
    assert!(least >= 16 * MIB as u64, "asked again from {least}");
    let entry = std::fs::read_dir(site.path("cache/models")).unwrap().count();
    assert_eq!(entry, 2, "both parts and nothing else");
}

/// None of it leaves the process, into a file or into a pipe.
#[test]
fn what_an_earlier_run_left_damaged_is_fetched_again() {
    let site = Site::new(24 * MIB);
    let (out, partial) = (site.path("out"), site.path("cache/models/yolo.onnx.big.partial"));
    let leave_damaged = || {
        let mut first = site.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 12 * MIB]).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        let mut bytes = std::fs::read(&partial).unwrap();
        bytes[MIB] ^= 1;
        std::fs::write(&partial, bytes).unwrap();
    };
    leave_damaged();
    let mended = site.run(&[NAME, "-o", out.to_str().unwrap()]);
    assert!(mended.status.success() && std::fs::read(&out).unwrap() == site.whole(), "{}", text(&mended.stderr));
    assert!(text(&mended.stderr).contains("\"step\":\"cache-damaged\""), "{}", text(&mended.stderr));
    std::fs::remove_dir_all(site.path("cache")).unwrap();
    leave_damaged();
    let mended = site.run(&[NAME]);
    assert!(mended.status.success() && mended.stdout == site.whole(), "{}", text(&mended.stderr));
    assert!(text(&mended.stderr).contains("\"step\":\"cache-damaged\""), "{}", text(&mended.stderr));
    assert_eq!(std::fs::read_dir(site.path("cache/models")).unwrap().count(), 2, "both parts and nothing else");
}

/// A reader such as az-decrypt stops at a byte that was changed on the way.
#[test]
fn a_reader_that_stopped_at_a_changed_byte_gets_the_right_ones_from_the_next_run() {
    let site = Site::proxied(24 * MIB);
    let (changed, args) = (MIB + 5, [NAME, "--jobs", "1"]);
    let stop_at_the_change = || {
        site.faults().set(format!("flip@{changed},on=cdn,times=1").parse().unwrap());
        let mut first = site.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut front = vec![0; 12 * MIB];
        first.stdout.take().unwrap().read_exact(&mut front).unwrap();
        let ended = first.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{}", text(&ended.stderr));
        front[SMALL.len() + changed] ^= 1;
        assert!(front == site.whole()[..12 * MIB]);
    };
    stop_at_the_change();
    let again = site.run(&args);
    assert!(again.status.success() && again.stdout == site.whole(), "{}", text(&again.stderr));
    let events = text(&again.stderr);
    assert!(events.contains("cache-damaged") && events.contains("cache-checked"), "{events}");

    // A store whose copy is damaged: nothing leaves, and nothing stays.
    std::fs::remove_dir_all(site.path("cache")).unwrap();
    stop_at_the_change();
    site.faults().set(format!("flip@{changed},on=cdn").parse().unwrap());
    let damaged = site.run(&args);
    assert!(damaged.status.code() == Some(65) && damaged.stdout.is_empty(), "{}", text(&damaged.stderr));
    assert!(text(&damaged.stderr).contains("damaged copy"), "{}", text(&damaged.stderr));
    assert_eq!(std::fs::read_dir(site.path("cache/models")).unwrap().count(), 0);
}

/// A file that another user of a shared cache made, of the right size and with the state
/// that a fetch leaves.
#[test]
fn a_partial_that_somebody_made_up_is_not_passed_on() {
    let site = Site::new(4 * MIB);
    let mut first = site.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 2 * MIB]).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::write(site.path("cache/models/yolo.onnx.big.partial"), vec![7; 4 * MIB]).unwrap();
    let run = site.run(&[NAME]);
    assert!(run.status.success() && run.stdout == site.whole(), "{}", text(&run.stderr));
}

/// The holder is stopped: it may go on later, and keeps its lock.
#[test]
fn a_cache_that_another_process_holds_is_waited_for_and_not_for_ever() {
    let site = Site::proxied(4 * MIB);
    site.faults().set("stall@1MiB,on=cdn,times=1".parse().unwrap());
    let mut holder = site.command(&[NAME, "--jobs", "1"]);
    let mut holder = holder.env("AZ_IDLE_TIMEOUT", "600").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    site.faults().wait_stalled(1);
    let waited = site.command(&[NAME]).env("AZ_LOCK_TIMEOUT", "1").output().unwrap();
    let (events, pid) = (text(&waited.stderr), holder.id());
    assert!(waited.status.code() == Some(75) && waited.stdout.is_empty(), "{events}");
    assert!(events.contains("\"step\":\"lock-wait\"") && events.contains(&format!("\"pid\":{pid}")), "{events}");
    assert!(events.contains(&format!("locked by process {pid} (az-fetch), and unchanged for 1 seconds")), "{events}");
    // What it fetches in the end is used by one that waits.
    let second = site.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    site.faults().release();
    let mut first = Vec::new();
    holder.stdout.as_mut().unwrap().read_to_end(&mut first).unwrap();
    assert!(holder.wait().unwrap().success() && first == site.whole());
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success() && second.stdout == site.whole(), "{}", text(&second.stderr));
}

#[test]
fn two_runs_at_once_fetch_once() {
    let site = Site::new(12 * MIB);
    let args = [NAME, "--chunk", "1M"];
    let spawn = || site.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (one, two) = (spawn(), spawn());
    std::thread::scope(|scope| {
        for run in [one, two] {
            scope.spawn(|| {
                let output = run.wait_with_output().unwrap();
                assert!(output.status.success() && output.stdout == site.whole(), "{}", text(&output.stderr));
            });
        }
    });
    assert_eq!(site.ranges().len(), 12);
}

#[test]
fn another_release_is_not_appended_to_what_is_there() {
    let site = Site::new(24 * MIB);
    let mut first =
        site.command(&[NAME, "--chunk", "1M"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 12 * MIB]).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    // The same bytes under another version: the store says another ETag.
    let state = site.path("cache/models/yolo.onnx.big.state");
    let text_before = std::fs::read_to_string(&state).unwrap();
    let (head, tail) = text_before.split_once("\"etag\":\"").unwrap();
    std::fs::write(&state, format!("{head}\"etag\":\"{}", tail.replacen("\\\"", "\\\"0", 1))).unwrap();
    let again = site.run(&[NAME, "--chunk", "1M"]);
    assert!(again.status.success() && again.stdout == site.whole(), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("cache-stale"), "{}", text(&again.stderr));
}

#[test]
fn without_a_network_the_cache_is_enough() {
    let mut site = Site::new(MIB);
    let missing = site.run(&[NAME, "--offline"]);
    assert_eq!(missing.status.code(), Some(66), "{}", text(&missing.stderr));
    assert!(site.run(&[NAME]).status.success());
    site.server = Site::new(0).server;
    // Nothing is asked, so nothing needs to be named.
    let offline = site.command(&[NAME, "--offline"]).env_remove("AZ_API_URL").output().unwrap();
    assert!(offline.status.success() && offline.stdout == site.whole(), "{}", text(&offline.stderr));
    assert!(site.server.requests().is_empty());
}

/// What is in the cache is a release of which both parts are there.
#[test]
fn an_update_that_fails_leaves_the_copy_before_it() {
    let mut site = Site::proxied(MIB);
    let stick = site.path("stick");
    let stick = stick.to_str().unwrap();
    assert!(site.run(&[NAME]).status.success() && site.run(&[NAME, "--export", stick]).status.success());
    let before = site.whole();
    site.publish(random(7, MIB));
    site.faults().set("reset@100K,on=cdn".parse().unwrap());
    let whole = site.command(&[NAME]).env("AZ_RETRIES", "0").output().unwrap();
    assert_eq!(whole.status.code(), Some(75), "{}", text(&whole.stderr));
    assert!(text(&whole.stderr).contains("cache-stale") && !text(&whole.stderr).contains("cache-damaged"));
    let export = site.command(&[NAME, "--export", stick]).env("AZ_RETRIES", "0").output().unwrap();
    assert_eq!(export.status.code(), Some(75), "{}", text(&export.stderr));
    assert!(site.run(&[NAME, "--part", "small"]).status.success());
    for args in [&[NAME, "--offline"][..], &[NAME, "--from", stick]] {
        let offline = site.run(args);
        assert!(offline.status.success() && offline.stdout == before, "{args:?}: {}", text(&offline.stderr));
    }
    site.faults().set(Faults::default());
    assert!(site.run(&[NAME]).status.success() && site.run(&[NAME, "--export", stick]).status.success());
    for args in [&[NAME, "--offline"][..], &[NAME, "--from", stick]] {
        assert!(site.run(args).stdout == site.whole(), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(site.path("cache/models")).unwrap().count(), 2, "both parts and nothing else");
}

#[test]
fn parts_come_alone_and_a_folder_is_listed() {
    let site = Site::new(MIB);
    assert_eq!(site.run(&[NAME, "--part", "small"]).stdout, SMALL);
    assert!(site.run(&[NAME, "--part", "big"]).stdout == site.big);
    let listed = text(&site.run(&["list", "models"]).stdout);
    assert!(listed.starts_with("{\"name\":\"yolo.onnx\",\"size\":") && listed.ends_with("}\n"), "{listed}");
    assert_eq!(site.run(&[NAME, "models"]).status.code(), Some(2));
}

#[test]
fn a_slow_line_is_asked_for_short_ranges() {
    let site = Site::proxied(3 * MIB);
    site.faults().set("trickle@0,on=cdn,rate=200K".parse().unwrap());
    let run = site.run(&[NAME]);
    assert!(run.status.success() && run.stdout == site.whole(), "{}", text(&run.stderr));
    let mut ranges = site.ranges();
    ranges.sort_unstable();
    let short: Vec<u64> = (0..12).map(|at| at * 256 * 1024).collect();
    assert_eq!(ranges, short);
}

#[test]
fn an_entry_that_another_process_has_locked_is_not_waited_for_without_end() {
    let site = Site::new(MIB);
    let dir = site.path("cache/models");
    std::fs::create_dir_all(&dir).unwrap();
    let partial = std::fs::File::create(dir.join("yolo.onnx.big.partial")).unwrap();
    partial.lock_shared().unwrap();
    let run = || {
        text(&site.command(&[NAME, "-o"]).arg(site.path("out")).env("AZ_LOCK_TIMEOUT", "0").output().unwrap().stderr)
    };
    let events = run();
    let by = format!("locked by process {} (", std::process::id());
    for part in ["\"step\":\"lock-wait\"", &format!("\"pid\":{}", std::process::id()), "\"exit\":75", &by] {
        assert!(events.contains(part), "{part}: {events}");
    }
    assert!(!site.path("out").exists() && site.ranges().is_empty());
    partial.unlock().unwrap();
    assert!(run().contains("\"ready\""));
    assert!(std::fs::read(site.path("out")).unwrap() == site.whole());
}
