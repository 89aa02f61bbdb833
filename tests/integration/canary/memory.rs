//! Memory of a stage, read as root: secrets that are no longer needed are wiped, and all
//! memory is locked if permitted.

use super::running::hold;
use super::{KEY, Site, Watched};
use loader_seal::Key;
use loader_testkit::{make_fifo, wait_until};
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use tests::{bash, binary, filter, run, say, set_mode, write_program};

/// Counts the copies of `secret` in the writable memory of the process.
fn copies(pid: u32, secret: &[u8]) -> usize {
    let proc = Path::new("/proc").join(pid.to_string());
    let memory = fs::File::open(proc.join("mem")).unwrap();
    let mut found = 0;
    for region in fs::read_to_string(proc.join("maps")).unwrap().lines() {
        let (range, rest) = region.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            found += bytes.windows(secret.len()).filter(|window| *window == secret).count();
        }
    }
    found
}

fn status_of(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_text_of_a_key_is_wiped_after_parsing() {
    if !geteuid().is_root() {
        return say("skipped: only root can read the memory of a stage");
    }
    let watched = Watched::new(Site::start());
    let fifo = watched.site.path("held");
    make_fifo(&fifo);
    let text = fs::read_to_string(watched.site.path("key")).unwrap();
    let line = text.lines().find(|line| line.starts_with(KEY)).unwrap();
    let key = Key::parse(line).unwrap();
    let (key_file, id) = (watched.site.path("key"), key.id().to_string());
    for (name, args) in [("az-decrypt", &[][..]), ("az-encrypt", &[]), ("az-rekey", &["--drop", &id, "-o", "out"])] {
        let mut command = filter(name);
        watched.configure(&mut command);
        command.arg("--key-file").arg(&key_file).args(args).arg(&fifo).stdout(Stdio::null());
        let (child, _end) = hold(command, &fifo);
        let pid = child.0.id();
        wait_until(&format!("{name}: the key is in memory"), || copies(pid, key.expose()) > 0);
        wait_until(&format!("{name}: the line of the key is wiped"), || copies(pid, &line.as_bytes()[..40]) == 0);
    }
}

/// If a process may lock memory without limit, all of it is locked. Otherwise nothing is
/// locked, and the stage still works.
#[test]
fn memory_is_locked_if_permitted() {
    const IPC_LOCK: u64 = 1 << 14;
    let capable = u64::from_str_radix(&status_of(std::process::id(), "CapEff:"), 16).unwrap() & IPC_LOCK != 0;
    if !geteuid().is_root() || !capable {
        return say("skipped: only root may lock memory and change users");
    }
    let site = Site::start();
    let (fifo, program) = (site.path("held"), site.path("az-decrypt"));
    make_fifo(&fifo);
    write_program(&program, fs::read(binary("az-decrypt")).unwrap());
    for path in [site.root(), &fifo, &site.path("images.enc")] {
        set_mode(path, if path == fifo { 0o777 } else { 0o755 });
    }
    let key = Key::parse(&fs::read_to_string(site.path("key")).unwrap()).unwrap();
    let nobody = "setpriv --reuid=65534 --clear-groups";
    let raises = run(bash("ulimit -l unlimited"), b"").status == 0;
    for (limit, user, locks) in [
        ("8192", "", true),
        ("unlimited", nobody, true),
        ("8192", nobody, false),
        ("64", nobody, false),
        ("0", nobody, false),
    ] {
        if limit == "unlimited" && !raises {
            say("skipped: this process may not raise its memory lock limit");
            continue;
        }
        let command = |input: &str| {
            let run = format!(r#"{user} "$SITE/az-decrypt" --key-file - "$SITE/{input}" < "$SITE/key""#);
            let mut command = bash(&format!("ulimit -l {limit}; exec {run}"));
            command.env("SITE", site.root()).env("HOME", "/nonexistent");
            command
        };
        let (child, _end) = hold(command("held"), &fifo);
        let pid = child.0.id();
        wait_until("the key is in memory", || copies(pid, key.expose()) > 0);
        let locked = status_of(pid, "VmLck:").parse::<u64>().unwrap();
        assert_eq!(locked > 0, locks, "{user} under {limit}: {locked} KiB");
        let finished = run(command("images.enc"), b"");
        assert_eq!(finished.status, 0, "{user} under {limit}: {}", finished.stderr);
        assert!(finished.stdout == fs::read(site.path("images.tar")).unwrap());
    }
}
