//! A disk that fills up under a fetch.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says what it could not do")]

mod site;

use loader_testkit::Faults;
use site::{NAME, Site, random};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Mounts a small disk at `$1` and runs the rest in it, twice: once until the disk
/// was filled from outside, once with room again. Says how each ended.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 1
dir=$1 && shift
"$@" >out1 2>err1 &
while [ ! -e stalled ]; do sleep 0.02; done
head -c 1G /dev/zero >"$dir/fill" 2>/dev/null
: >filled
wait $!; echo $? >status1
ls "$dir/models" >left
rm "$dir/fill"
"$@" >out2 2>err2; echo $? >status2
"#;

fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Mounts a disk for one release at `$1`, and fetches one there. When the next is
/// `published` on a CDN that is down, fetches that, and once more when it is `up`.
const UPDATE: &str = r#"
mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 1
shift
"$@" >out 2>err || exit 1
: >fetched
while [ ! -e published ]; do sleep 0.02; done
"$@" >out1 2>err1; echo $? >status1
"$@" --offline >out2 2>err2; echo $? >status2
: >tried
while [ ! -e up ]; do sleep 0.02; done
"$@" >out3 2>err3; echo $? >status3
"$@" --offline >out4 2>err4; echo $? >status4
"#;

/// False, and says so, where no disk can be mounted.
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: no disk of its own can be mounted here");
    }
    can
}

#[test]
fn a_release_gives_way_where_the_next_has_no_room_beside_it() {
    if !can_mount() {
        return;
    }
    let mut site = Site::proxied(9 * MIB);
    let cache = site.path("cache");
    std::fs::create_dir(&cache).unwrap();
    let fetch = site.command(&[NAME, "--cache-dir", cache.to_str().unwrap()]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", UPDATE, "sh"]).arg(&cache).arg(fetch.get_program()).args(fetch.get_args());
    command.current_dir(site.path("")).env("AZ_API_URL", site.server.api_url()).env("AZ_RETRIES", "0");
    let mut child = command.spawn().unwrap();
    wait_for(&site.path("fetched"));
    let before = site.whole();
    site.publish(random(7, 10 * MIB));
    site.faults().set("reset,on=cdn".parse().unwrap());
    std::fs::write(site.path("published"), "").unwrap();
    wait_for(&site.path("tried"));
    site.faults().set(Faults::default());
    std::fs::write(site.path("up"), "").unwrap();
    assert!(child.wait().unwrap().success());

    let text = |name: &str| std::fs::read_to_string(site.path(name)).unwrap();
    let out = |name: &str| std::fs::read(site.path(name)).unwrap();
    let statuses = ["status1", "status2", "status3", "status4"].map(text);
    assert_eq!(statuses, ["75\n", "0\n", "0\n", "0\n"], "{}{}", text("err1"), text("err3"));
    assert!(out("out2") == before && out("out3") == site.whole() && out("out4") == site.whole());
    let removed = format!("\"step\":\"cache-room\",\"detail\":{{\"removed\":{}}}", 9 * MIB);
    assert!(!text("err1").contains("cache-room") && text("err3").contains(&removed), "{}", text("err3"));
}

/// A cache is done without, and an export ends; what is on the disk is of use to the
/// next run.
#[test]
fn a_disk_that_fills_up_keeps_what_is_there() {
    if !can_mount() {
        return;
    }
    for (option, status, words) in [("--cache-dir", "0\n", "cache-off"), ("--export", "74\n", "\"exit\":74")] {
        let site = Site::proxied(6 * MIB);
        let disk = site.path("disk");
        std::fs::create_dir(&disk).unwrap();
        site.faults().set("stall@3MiB,on=cdn,times=1".parse().unwrap());
        let fetch = site.command(&[NAME, "--jobs", "1", option, disk.to_str().unwrap()]);
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", SCRIPT, "sh"]).arg(&disk).arg(fetch.get_program()).args(fetch.get_args());
        command.current_dir(site.path("")).env("AZ_API_URL", site.server.api_url());
        let mut child = command.spawn().unwrap();
        site.faults().wait_stalled(1);
        std::fs::write(site.path("stalled"), "").unwrap();
        wait_for(&site.path("filled"));
        site.faults().release();
        assert!(child.wait().unwrap().success());

        let text = |name: &str| std::fs::read_to_string(site.path(name)).unwrap();
        let (first, second) = (text("err1"), text("err2"));
        assert_eq!(text("status1"), status, "{first}");
        assert!(first.contains("o space left") && first.contains(words), "{first}");
        assert!(text("left").contains("yolo.onnx.big.partial"), "{}", text("left"));
        assert_eq!(text("status2"), "0\n", "{second}");
        assert!(second.contains("\"resumed_at\":"), "{second}");
        if option == "--cache-dir" {
            let out = |name: &str| std::fs::read(site.path(name)).unwrap();
            assert!(out("out1") == site.whole() && out("out2") == site.whole());
        }
    }
}
