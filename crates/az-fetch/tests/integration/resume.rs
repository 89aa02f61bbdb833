//! Tests of runs that are interrupted, run concurrently, or have no network.

use crate::fixture::{FetchFixture, NAME, SMALL, random, text};
use loader_testkit::Faults;
use std::io::Read;
use std::process::Stdio;

const MIB: usize = 1 << 20;

#[test]
fn killed_run_is_resumed_at_the_durable_bytes() {
    let fixture = FetchFixture::new(24 * MIB);
    let args = [NAME, "--jobs", "2", "--chunk", "1M"];
    let mut first = fixture.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut front = vec![0; 18 * MIB];
    first.stdout.as_mut().unwrap().read_exact(&mut front).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(front == fixture.whole()[..18 * MIB]);

    let before = fixture.ranges().len();
    let again = fixture.run(&args);
    assert!(again.status.success() && again.stdout == fixture.whole(), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("\"resumed_at\":"), "{}", text(&again.stderr));
    let least = *fixture.ranges()[before..].iter().min().unwrap();
    assert!(least >= 16 * MIB as u64, "asked again from {least}");
    let entry = std::fs::read_dir(fixture.path("cache/models")).unwrap().count();
    assert_eq!(entry, 2, "only the two parts");
}

/// No damaged byte is written to a file or to a pipe.
#[test]
fn damaged_bytes_of_an_earlier_run_are_fetched_again() {
    let fixture = FetchFixture::new(24 * MIB);
    let (out, partial) = (fixture.path("out"), fixture.path("cache/models/yolo.onnx.big.partial"));
    let leave_damaged = || {
        let mut first = fixture.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 12 * MIB]).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        let mut bytes = std::fs::read(&partial).unwrap();
        bytes[MIB] ^= 1;
        std::fs::write(&partial, bytes).unwrap();
    };
    leave_damaged();
    let mended = fixture.run(&[NAME, "-o", out.to_str().unwrap()]);
    assert!(mended.status.success() && std::fs::read(&out).unwrap() == fixture.whole(), "{}", text(&mended.stderr));
    assert!(text(&mended.stderr).contains("\"step\":\"cache-damaged\""), "{}", text(&mended.stderr));
    std::fs::remove_dir_all(fixture.path("cache")).unwrap();
    leave_damaged();
    let mended = fixture.run(&[NAME]);
    assert!(mended.status.success() && mended.stdout == fixture.whole(), "{}", text(&mended.stderr));
    assert!(text(&mended.stderr).contains("\"step\":\"cache-damaged\""), "{}", text(&mended.stderr));
    assert_eq!(std::fs::read_dir(fixture.path("cache/models")).unwrap().count(), 2, "only the two parts");
}

/// A reader such as az-decrypt stops at a byte that was changed in transit.
#[test]
fn next_run_repairs_a_byte_at_which_the_reader_stopped() {
    let fixture = FetchFixture::proxied(24 * MIB);
    let (changed, args) = (MIB + 5, [NAME, "--jobs", "1"]);
    let stop_at_the_change = || {
        fixture.faults().set(format!("flip@{changed},on=cdn,times=1").parse().unwrap());
        let mut first = fixture.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut front = vec![0; 12 * MIB];
        first.stdout.take().unwrap().read_exact(&mut front).unwrap();
        let ended = first.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{}", text(&ended.stderr));
        front[SMALL.len() + changed] ^= 1;
        assert!(front == fixture.whole()[..12 * MIB]);
    };
    stop_at_the_change();
    let again = fixture.run(&args);
    assert!(again.status.success() && again.stdout == fixture.whole(), "{}", text(&again.stderr));
    let events = text(&again.stderr);
    assert!(events.contains("cache-damaged") && events.contains("cache-checked"), "{events}");

    // The copy on the store is damaged: nothing is written and nothing stays.
    std::fs::remove_dir_all(fixture.path("cache")).unwrap();
    stop_at_the_change();
    fixture.faults().set(format!("flip@{changed},on=cdn").parse().unwrap());
    let damaged = fixture.run(&args);
    assert!(damaged.status.code() == Some(65) && damaged.stdout.is_empty(), "{}", text(&damaged.stderr));
    assert!(text(&damaged.stderr).contains("damaged copy"), "{}", text(&damaged.stderr));
    assert_eq!(std::fs::read_dir(fixture.path("cache/models")).unwrap().count(), 0);
}

/// Covers a file that another user of a shared cache created, of the right size and with a state
/// file like that of a fetch.
#[test]
fn forged_unfinished_entry_is_not_written_to_the_output() {
    let fixture = FetchFixture::new(4 * MIB);
    let mut first = fixture.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 2 * MIB]).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::write(fixture.path("cache/models/yolo.onnx.big.partial"), vec![7; 4 * MIB]).unwrap();
    let run = fixture.run(&[NAME]);
    assert!(run.status.success() && run.stdout == fixture.whole(), "{}", text(&run.stderr));
}

/// The holder is stalled: it may continue later and keeps its lock.
#[test]
fn wait_for_a_locked_entry_ends_with_the_lock_or_the_timeout() {
    let fixture = FetchFixture::proxied(4 * MIB);
    fixture.faults().set("stall@1MiB,on=cdn,times=1".parse().unwrap());
    let mut holder = fixture.command(&[NAME, "--jobs", "1"]);
    let mut holder = holder.env("AZ_IDLE_TIMEOUT", "600").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    fixture.faults().wait_stalled(1);
    let waited = fixture.command(&[NAME]).env("AZ_LOCK_TIMEOUT", "1").output().unwrap();
    let (events, pid) = (text(&waited.stderr), holder.id());
    assert!(waited.status.code() == Some(75) && waited.stdout.is_empty(), "{events}");
    assert!(events.contains("\"step\":\"lock-wait\"") && events.contains(&format!("\"pid\":{pid}")), "{events}");
    assert!(events.contains(&format!("locked by process {pid} (az-fetch), and unchanged for 1 seconds")), "{events}");
    // A waiting run uses the entry that the holder finally completes.
    let second = fixture.command(&[NAME]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fixture.faults().release();
    let mut first = Vec::new();
    holder.stdout.as_mut().unwrap().read_to_end(&mut first).unwrap();
    assert!(holder.wait().unwrap().success() && first == fixture.whole());
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success() && second.stdout == fixture.whole(), "{}", text(&second.stderr));
}

#[test]
fn two_concurrent_runs_fetch_once() {
    let fixture = FetchFixture::new(12 * MIB);
    let args = [NAME, "--chunk", "1M"];
    let spawn = || fixture.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (one, two) = (spawn(), spawn());
    std::thread::scope(|scope| {
        for run in [one, two] {
            scope.spawn(|| {
                let output = run.wait_with_output().unwrap();
                assert!(output.status.success() && output.stdout == fixture.whole(), "{}", text(&output.stderr));
            });
        }
    });
    assert_eq!(fixture.ranges().len(), 12);
}

#[test]
fn other_version_is_not_appended_to_the_cached_bytes() {
    let fixture = FetchFixture::new(24 * MIB);
    let mut first =
        fixture.command(&[NAME, "--chunk", "1M"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 12 * MIB]).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    // The same bytes with another ETag.
    let state = fixture.path("cache/models/yolo.onnx.big.state");
    let text_before = std::fs::read_to_string(&state).unwrap();
    let (head, tail) = text_before.split_once("\"etag\":\"").unwrap();
    std::fs::write(&state, format!("{head}\"etag\":\"{}", tail.replacen("\\\"", "\\\"0", 1))).unwrap();
    let again = fixture.run(&[NAME, "--chunk", "1M"]);
    assert!(again.status.success() && again.stdout == fixture.whole(), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("cache-stale"), "{}", text(&again.stderr));
}

#[test]
fn cache_suffices_without_a_network() {
    let mut fixture = FetchFixture::new(MIB);
    let missing = fixture.run(&[NAME, "--offline"]);
    assert_eq!(missing.status.code(), Some(66), "{}", text(&missing.stderr));
    assert!(fixture.run(&[NAME]).status.success());
    fixture.set_server(FetchFixture::new(0).second_server());
    // No request is made, so no API is needed.
    let offline = fixture.command(&[NAME, "--offline"]).env_remove("AZ_API_URL").output().unwrap();
    assert!(offline.status.success() && offline.stdout == fixture.whole(), "{}", text(&offline.stderr));
    assert!(fixture.server().requests().is_empty());
}

/// The cache always contains both parts of one release.
#[test]
fn failed_update_keeps_the_previous_release() {
    let mut fixture = FetchFixture::proxied(MIB);
    let stick = fixture.path("stick");
    let stick = stick.to_str().unwrap();
    assert!(fixture.run(&[NAME]).status.success() && fixture.run(&[NAME, "--export", stick]).status.success());
    let before = fixture.whole();
    fixture.publish(random(7, MIB));
    fixture.faults().set("reset@100K,on=cdn".parse().unwrap());
    let whole = fixture.command(&[NAME]).env("AZ_RETRIES", "0").output().unwrap();
    assert_eq!(whole.status.code(), Some(75), "{}", text(&whole.stderr));
    assert!(text(&whole.stderr).contains("cache-stale") && !text(&whole.stderr).contains("cache-damaged"));
    let export = fixture.command(&[NAME, "--export", stick]).env("AZ_RETRIES", "0").output().unwrap();
    assert_eq!(export.status.code(), Some(75), "{}", text(&export.stderr));
    assert!(fixture.run(&[NAME, "--part", "small"]).status.success());
    for args in [&[NAME, "--offline"][..], &[NAME, "--from", stick]] {
        let offline = fixture.run(args);
        assert!(offline.status.success() && offline.stdout == before, "{args:?}: {}", text(&offline.stderr));
    }
    fixture.faults().set(Faults::default());
    assert!(fixture.run(&[NAME]).status.success() && fixture.run(&[NAME, "--export", stick]).status.success());
    for args in [&[NAME, "--offline"][..], &[NAME, "--from", stick]] {
        assert!(fixture.run(args).stdout == fixture.whole(), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(fixture.path("cache/models")).unwrap().count(), 2, "only the two parts");
}

#[test]
fn single_parts_are_written_and_a_directory_is_listed() {
    let fixture = FetchFixture::new(MIB);
    assert_eq!(fixture.run(&[NAME, "--part", "small"]).stdout, SMALL);
    assert!(fixture.run(&[NAME, "--part", "big"]).stdout == fixture.big);
    let listed = text(&fixture.run(&["list", "models"]).stdout);
    assert!(listed.starts_with("{\"name\":\"yolo.onnx\",\"size\":") && listed.ends_with("}\n"), "{listed}");
    assert_eq!(fixture.run(&[NAME, "models"]).status.code(), Some(2));
}

#[test]
fn slow_connection_gets_short_ranges() {
    let fixture = FetchFixture::proxied(3 * MIB);
    fixture.faults().set("trickle@0,on=cdn,rate=200K".parse().unwrap());
    let run = fixture.run(&[NAME]);
    assert!(run.status.success() && run.stdout == fixture.whole(), "{}", text(&run.stderr));
    let mut ranges = fixture.ranges();
    ranges.sort_unstable();
    let short: Vec<u64> = (0..12).map(|at| at * 256 * 1024).collect();
    assert_eq!(ranges, short);
}

/// Another user of a shared cache can hold any lock there.
#[test]
fn small_part_locked_by_another_program_is_reported_and_not_stored() {
    let fixture = FetchFixture::new(MIB);
    let dir = fixture.path("cache/models");
    std::fs::create_dir_all(&dir).unwrap();
    let held = std::fs::File::create(dir.join("yolo.onnx.small.new")).unwrap();
    held.lock().unwrap();
    let mut command = fixture.command(&[NAME]);
    let finished = command.env("AZ_LOCK_TIMEOUT", "0").output().unwrap();
    let events = text(&finished.stderr);
    assert!(finished.status.success(), "{events}");
    let pid = std::process::id();
    for part in ["\"step\":\"lock-wait\"", &format!("\"pid\":{pid}"), &format!("locked by process {pid} (")] {
        assert!(events.contains(part), "{part}: {events}");
    }
    assert!(events.contains("\"step\":\"cache-off\""), "{events}");
    assert!(!dir.join("yolo.onnx.small").exists());
}

#[test]
fn entry_locked_by_another_program_is_reported_after_the_timeout() {
    let fixture = FetchFixture::new(MIB);
    let dir = fixture.path("cache/models");
    std::fs::create_dir_all(&dir).unwrap();
    let partial = std::fs::File::create(dir.join("yolo.onnx.big.partial")).unwrap();
    partial.lock_shared().unwrap();
    let run = || {
        text(
            &fixture
                .command(&[NAME, "-o"])
                .arg(fixture.path("out"))
                .env("AZ_LOCK_TIMEOUT", "0")
                .output()
                .unwrap()
                .stderr,
        )
    };
    let events = run();
    let by = format!("locked by process {} (", std::process::id());
    for part in ["\"step\":\"lock-wait\"", &format!("\"pid\":{}", std::process::id()), "\"exit\":75", &by] {
        assert!(events.contains(part), "{part}: {events}");
    }
    assert!(!fixture.path("out").exists() && fixture.ranges().is_empty());
    partial.unlock().unwrap();
    assert!(run().contains("\"ready\""));
    assert!(std::fs::read(fixture.path("out")).unwrap() == fixture.whole());
}
