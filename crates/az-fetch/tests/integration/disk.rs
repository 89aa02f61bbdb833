//! Tests of a disk that fills up during a fetch.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use crate::fixture::{FetchFixture, NAME, random};
use loader_testkit::{Faults, wait_until};
use std::path::Path;
use std::process::Command;

const MIB: usize = 1 << 20;

/// Mounts a small disk at `$1` and runs the remaining arguments twice: first until the disk was
/// filled from outside, then with free space again. Writes the exit statuses to files.
const SCRIPT: &str = r#"
wait_for() { for _ in $(seq 6000); do [ ! -e "$1" ] || return 0; sleep 0.02; done; exit 1; }
mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 1
dir=$1 && shift
"$@" >out1 2>err1 &
wait_for stalled
head -c 1G /dev/zero >"$dir/fill" 2>/dev/null
: >filled
wait $!; echo $? >status1
ls "$dir/models" >left
rm "$dir/fill"
"$@" >out2 2>err2; echo $? >status2
"#;

fn wait_for(path: &Path) {
    wait_until(&format!("{} exists", path.display()), || path.exists());
}

/// Mounts a disk with room for one release at `$1` and fetches one. After the next release is
/// `published` on a CDN that is down, fetches that, and again after the CDN is `up`.
const UPDATE: &str = r#"
wait_for() { for _ in $(seq 6000); do [ ! -e "$1" ] || return 0; sleep 0.02; done; exit 1; }
mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 1
shift
"$@" >out 2>err || exit 1
: >fetched
wait_for published
"$@" >out1 2>err1; echo $? >status1
"$@" --offline >out2 2>err2; echo $? >status2
: >tried
wait_for up
"$@" >out3 2>err3; echo $? >status3
"$@" --offline >out4 2>err4; echo $? >status4
"#;

/// Returns false and prints a message if no disk can be mounted.
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: this test cannot mount a disk here");
    }
    can
}

#[test]
fn previous_release_is_removed_if_the_disk_cannot_hold_both() {
    if !can_mount() {
        return;
    }
    let mut fixture = FetchFixture::proxied(9 * MIB);
    let cache = fixture.path("cache");
    std::fs::create_dir(&cache).unwrap();
    let fetch = fixture.command(&[NAME, "--cache-dir", cache.to_str().unwrap()]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", UPDATE, "sh"]).arg(&cache).arg(fetch.get_program()).args(fetch.get_args());
    command.current_dir(fixture.path("")).env("AZ_API_URL", fixture.server().api_url()).env("AZ_RETRIES", "0");
    let mut child = command.spawn().unwrap();
    wait_for(&fixture.path("fetched"));
    let before = fixture.whole();
    fixture.publish(random(7, 10 * MIB));
    fixture.faults().set("reset,on=cdn".parse().unwrap());
    std::fs::write(fixture.path("published"), "").unwrap();
    wait_for(&fixture.path("tried"));
    fixture.faults().set(Faults::default());
    std::fs::write(fixture.path("up"), "").unwrap();
    assert!(child.wait().unwrap().success());

    let text = |name: &str| std::fs::read_to_string(fixture.path(name)).unwrap();
    let out = |name: &str| std::fs::read(fixture.path(name)).unwrap();
    let statuses = ["status1", "status2", "status3", "status4"].map(text);
    assert_eq!(statuses, ["75\n", "0\n", "0\n", "0\n"], "{}{}", text("err1"), text("err3"));
    assert!(out("out2") == before && out("out3") == fixture.whole() && out("out4") == fixture.whole());
    let removed = format!("\"step\":\"cache-room\",\"detail\":{{\"removed\":{}}}", 9 * MIB);
    assert!(!text("err1").contains("cache-room") && text("err3").contains(&removed), "{}", text("err3"));
}

/// The fetch continues without the cache, an export fails, and the next run resumes the bytes on
/// the disk.
#[test]
fn full_disk_keeps_the_fetched_bytes() {
    if !can_mount() {
        return;
    }
    for (option, status, words) in [("--cache-dir", "0\n", "cache-off"), ("--export", "74\n", "\"exit\":74")] {
        let fixture = FetchFixture::proxied(6 * MIB);
        let disk = fixture.path("disk");
        std::fs::create_dir(&disk).unwrap();
        fixture.faults().set("stall@3MiB,on=cdn,times=1".parse().unwrap());
        let fetch = fixture.command(&[NAME, "--jobs", "1", option, disk.to_str().unwrap()]);
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", SCRIPT, "sh"]).arg(&disk).arg(fetch.get_program()).args(fetch.get_args());
        command.current_dir(fixture.path("")).env("AZ_API_URL", fixture.server().api_url());
        let mut child = command.spawn().unwrap();
        fixture.faults().wait_stalled(1);
        std::fs::write(fixture.path("stalled"), "").unwrap();
        wait_for(&fixture.path("filled"));
        fixture.faults().release();
        assert!(child.wait().unwrap().success());

        let text = |name: &str| std::fs::read_to_string(fixture.path(name)).unwrap();
        let (first, second) = (text("err1"), text("err2"));
        assert_eq!(text("status1"), status, "{first}");
        assert!(first.contains("o space left") && first.contains(words), "{first}");
        assert!(text("left").contains("yolo.onnx.big.partial"), "{}", text("left"));
        assert_eq!(text("status2"), "0\n", "{second}");
        assert!(second.contains("\"resumed_at\":"), "{second}");
        if option == "--cache-dir" {
            let out = |name: &str| std::fs::read(fixture.path(name)).unwrap();
            assert!(out("out1") == fixture.whole() && out("out2") == fixture.whole());
        }
    }
}
