//! Output of az-decrypt and az-encrypt to a pipe: readers that are slow, keep pages, or
//! close the pipe, and kernels that refuse vmsplice.

use loader_testkit::wait_until;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, tee};
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use tests::{EventLines, Finished, Random, bash, filter, run, vectors, write_secret};

const MIB: usize = 1 << 20;

/// Five full segments and a short one.
fn plaintext() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| Random(11).bytes(5 * MIB + 12_345))
}

/// Directory with `key`, and with the plaintext sealed in several segment sizes.
fn site() -> &'static TempDir {
    static SITE: OnceLock<TempDir> = OnceLock::new();
    SITE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        write_secret(&key, &vectors()[0].key);
        fs::write(dir.path().join("plain"), plaintext()).unwrap();
        for (suite, segment) in SEALED {
            let mut command = filter("az-encrypt");
            command.args(["--raw", "--suite", suite, "--segment", segment, "--key-file"]).arg(&key);
            command.arg("-o").arg(dir.path().join(format!("{suite}-{segment}"))).arg(dir.path().join("plain"));
            let sealed = run(command, b"");
            assert_eq!(sealed.status, 0, "{}", sealed.stderr);
        }
        let mut command = filter("az-encrypt");
        command.arg("--key-file").arg(&key).arg("-o").arg(dir.path().join("packed")).arg(dir.path().join("plain"));
        let sealed = run(command, b"");
        assert_eq!(sealed.status, 0, "{}", sealed.stderr);
        dir
    })
}

const SEALED: [(&str, &str); 5] = [("gcm", "1M"), ("gcm", "4K"), ("gcm", "64K"), ("gcm", "4M"), ("ctr-hmac", "1M")];

fn at(name: &str) -> PathBuf {
    site().path().join(name)
}

fn opening(sealed: &str, args: &[&str]) -> Command {
    let mut command = filter("az-decrypt");
    command.arg("--key-file").arg(at("key")).args(args).arg(at(sealed));
    command
}

/// Starts `command` with a new pipe as standard output.
fn start(mut command: Command, flags: OFlags) -> (Child, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    fcntl_setfl(&writer, flags).unwrap();
    let child = command.stdout(writer).spawn().unwrap();
    (child, reader)
}

fn finish(child: Child) -> Finished {
    child.wait_with_output().unwrap().into()
}

fn read_slowly(mut reader: PipeReader) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 30_011]);
    loop {
        std::thread::yield_now();
        match reader.read(&mut piece).unwrap() {
            0 => return all,
            got => all.extend(&piece[..got]),
        }
    }
}

#[test]
fn a_slow_reader_gets_the_plaintext_from_any_number_of_threads() {
    let raw = SEALED.map(|(suite, segment)| format!("{suite}-{segment}"));
    for sealed in raw.into_iter().chain(["packed".to_owned()]) {
        for threads in ["1", "2", "3", "8"] {
            let (child, reader) = start(opening(&sealed, &["--threads", threads]), OFlags::empty());
            assert!(read_slowly(reader) == plaintext(), "{sealed} {threads}");
            let finished = finish(child);
            assert_eq!(finished.status, 0, "{}", finished.stderr);
        }
    }
}

#[test]
fn a_nonblocking_output_pipe_works() {
    for name in ["az-decrypt", "az-encrypt"] {
        let mut command = filter(name);
        command.arg("--key-file").arg(at("key")).arg(at(if name == "az-decrypt" { "gcm-1M" } else { "plain" }));
        let (child, mut reader) = start(command, OFlags::NONBLOCK);
        // Reads only after the filter has filled the pipe and has to write more.
        reader.read_exact(&mut [0]).unwrap();
        let size = fcntl_getpipe_size(&reader).unwrap();
        let rest = read_slowly(reader);
        let finished = finish(child);
        assert_eq!(finished.status, 0, "{name}: {}", finished.stderr);
        assert!(rest.len() > size, "{name}");
        assert!(name == "az-encrypt" || rest == plaintext()[1..], "{name}");
    }
}

/// Waits until `child` is sleeping or has ended.
fn wait_until_it_sleeps(child: &mut Child) {
    let stat = format!("/proc/{}/stat", child.id());
    wait_until("the filter sleeps or has ended", || {
        child.try_wait().unwrap().is_some() || fs::read_to_string(&stat).unwrap().contains(") S ")
    });
}

#[test]
fn a_nonblocking_input_works() {
    let key = fs::read(at("key")).unwrap();
    let fragments = run(filter("az-split"), &key).stdout;
    let (plain, sealed) = (fs::read(at("plain")).unwrap(), fs::read(at("gcm-1M")).unwrap());
    let key_file = at("key").display().to_string();
    let parts = tempfile::tempdir().unwrap();
    let name = parts.path().join("part").display().to_string();
    let cases: [(&str, &[&str], &[u8]); 9] = [
        ("az-join", &[], &fragments),
        ("az-split", &[], &key),
        ("az-split", &["--parts", &name], &sealed),
        ("az-inspect", &[], &sealed),
        ("az-rekey", &["--key-file", &key_file, "--add", &key_file, "-"], &sealed),
        ("az-decrypt", &["--key-file", &key_file], &sealed),
        ("az-decrypt", &["--key-file", &key_file, "--verify-only"], &sealed),
        ("az-decrypt", &["--key-file", &key_file, "--plain-ctr"], &plain),
        ("az-encrypt", &["--key-file", &key_file], &plain),
    ];
    for (name, args, input) in cases {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let mut command = filter(name);
        command.args(args).stdin(reader);
        let (mut child, stdout) = start(command, OFlags::NONBLOCK);
        let reading = std::thread::spawn(move || read_slowly(stdout).len());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut String::new()).unwrap();
        for piece in [&input[..30], &input[30..input.len() / 2], &input[input.len() / 2..]] {
            wait_until_it_sleeps(&mut child);
            // az-inspect stops reading after the header.
            let _ = writer.write_all(piece);
        }
        drop(writer);
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(finish(child).status, 0, "{name} {args:?}: {said}");
        assert!(name == "az-decrypt" || reading.join().unwrap() > 0, "{name} {args:?}");
    }
}

#[test]
fn pages_kept_by_a_reader_are_not_overwritten() {
    for threads in ["1", "2"] {
        let (child, mut reader) = start(opening("gcm-1M", &["--threads", threads]), OFlags::empty());
        let (mut kept, second) = io::pipe().unwrap();
        fcntl_setpipe_size(&second, MIB).unwrap();
        let len = tee(&reader, &second, MIB, SpliceFlags::empty()).unwrap();
        drop(second);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert!(all == plaintext());
        assert_eq!(finish(child).status, 0);
        let mut late = Vec::new();
        kept.read_to_end(&mut late).unwrap();
        assert!(len > 0 && late == plaintext()[..len], "{threads} threads, {len} bytes kept");
    }
}

#[test]
fn a_pipe_closed_half_way_is_141() {
    for name in ["az-decrypt", "az-encrypt"] {
        for leave_after in [1, 3 * MIB / 2] {
            let mut command = filter(name);
            command.arg("--key-file").arg(at("key")).arg(at(if name == "az-decrypt" { "gcm-1M" } else { "plain" }));
            let (child, mut reader) = start(command, OFlags::empty());
            reader.read_exact(&mut vec![0; leave_after]).unwrap();
            drop(reader);
            let finished = finish(child);
            assert_eq!((finished.status, finished.code().as_str()), (141, "reader_gone"), "{}", finished.stderr);
        }
    }
}

#[test]
fn ranges_pass_through_the_pipe() {
    for (offset, len) in [(0, 1), (MIB - 57, 3), (MIB, 2 * MIB), (777_777, 3_333_333), (5 * MIB, 12_345)] {
        let range = format!("{offset}:{len}");
        for threads in ["1", "3"] {
            let finished = run(opening("gcm-1M", &["--threads", threads, "--range", &range]), b"");
            assert_eq!(finished.status, 0, "{}", finished.stderr);
            assert!(finished.stdout == plaintext()[offset..offset + len], "{range}");
        }
    }
}

#[test]
fn a_stream_sealed_into_a_pipe_opens() {
    for args in ["", "--threads 3", "--segment 64K", "--segment 4M --suite ctr-hmac"] {
        let script = format!("az-encrypt {args} --key-file \"$K\" < \"$P\" | cat | az-decrypt --key-file \"$K\"");
        let mut command = bash(&script);
        command.env("K", at("key")).env("P", at("plain"));
        let finished = run(command, b"");
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.stdout == plaintext(), "{args}");
    }
}

#[test]
fn without_vmsplice_the_bytes_are_written() {
    let faults = [
        "vmsplice:error=EINVAL",
        "vmsplice:error=ENOSYS",
        "vmsplice:error=EPERM:when=2",
        "vmsplice:error=ENOMEM:when=3+",
        "vmsplice:error=EAGAIN",
        "vmsplice:error=EINTR:when=1..2",
        "getrusage:error=ENOSYS",
        "getrusage:error=EPERM:when=3+",
        "madvise:error=EINVAL",
        "madvise:error=ENOMEM:when=3+",
    ];
    for fault in faults {
        for threads in ["1", "3"] {
            let command = opening("gcm-1M", &["--threads", threads]);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={fault}")]);
            traced.arg(command.get_program()).args(command.get_args());
            traced.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let finished = run(traced, b"");
            assert_eq!(finished.status, 0, "{fault}: {}", finished.stderr);
            assert!(finished.stdout == plaintext(), "{fault}, {threads} threads");
        }
    }
}

#[test]
fn no_byte_of_a_damaged_segment_reaches_the_pipe() {
    let mut sealed = fs::read(at("gcm-1M")).unwrap();
    let hit = 3 * MIB + MIB / 2;
    sealed[hit] ^= 1;
    let path = at("damaged");
    fs::File::create(&path).unwrap().write_all(&sealed).unwrap();
    for threads in ["1", "2", "5", "8"] {
        let finished = run(opening("damaged", &["--threads", threads]), b"");
        assert_eq!((finished.status, finished.code().as_str()), (65, "corrupt"), "{}", finished.stderr);
        assert!(finished.stdout.len() <= 3 * MIB && finished.stdout.len() > 2 * MIB);
        assert!(finished.stdout == plaintext()[..finished.stdout.len()], "{threads} threads");
    }
}
