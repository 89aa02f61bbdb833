//! Sealed files with the real binaries: the vectors, and damaged files.

use loader_seal::Key;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use tempfile::NamedTempFile;
use tests::{EventLines, Finished, Random, Vector, events, filter, hex, run, vectors};

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Creates a file with a key line and mode 0600.
fn key_file(line: &str) -> NamedTempFile {
    // Not in /tmp itself, in which other users can make files.
    let mut file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    writeln!(file, "{line}").unwrap();
    file
}

fn open_by_file(vector: &Vector) -> Finished {
    let mut command = filter("az-decrypt");
    command.args(["--key-file", "-"]).arg(&vector.path);
    run(command, vector.key.as_bytes())
}

fn open_by_pipe(vector: &Vector) -> Finished {
    let key = key_file(&vector.key);
    let mut command = filter("az-decrypt");
    command.arg("--key-file").arg(key.path());
    run(command, &fs::read(&vector.path).unwrap())
}

fn check(vector: &Vector, finished: &Finished, how: &str) {
    let name = format!("{} {how}", vector.name);
    let events = finished.events();
    events::check_run(&events);
    let code = finished.code();
    if vector.errors.is_empty() {
        assert_eq!((finished.status, code.as_str()), (0, ""), "{name}: {}", finished.stderr);
        assert_eq!(finished.stdout.len(), vector.may_release_len, "{name}");
        assert_eq!(digest(&finished.stdout), vector.may_release_sha256, "{name}");
        return;
    }
    // An empty pipe means that the upstream stage failed; an empty file does not.
    let no_input = code == "no_input" && fs::metadata(&vector.path).unwrap().len() == 0;
    assert!(no_input || vector.errors.contains(&code), "{name}: {}", finished.stderr);
    assert_eq!(finished.status, if code == "wrong_key" { 79 } else { 65 }, "{name}");
    assert!(finished.stdout.len() <= vector.may_release_len, "{name}: {} bytes", finished.stdout.len());
    if finished.stdout.len() == vector.may_release_len {
        assert_eq!(digest(&finished.stdout), vector.may_release_sha256, "{name}");
    }
}

#[test]
fn every_vector_gets_its_status_and_releases_no_more_than_its_prefix() {
    let vectors = vectors();
    assert!(vectors.len() >= 74, "only {} vectors", vectors.len());
    for vector in &vectors {
        check(vector, &open_by_file(vector), "by file");
        check(vector, &open_by_pipe(vector), "by pipe");
    }
}

/// Returns a small archive in the format of `docker save`.
fn archive() -> Vec<u8> {
    let mut random = Random(1);
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "app/model.bin", &random.bytes(30_000));
    let layer = layer.into_inner().unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "layer/layer.tar", &layer);
    append(&mut archive, "config.json", br#"{"architecture":"amd64","os":"linux"}"#);
    append(
        &mut archive,
        "manifest.json",
        br#"[{"Config":"config.json","RepoTags":["app:1"],"Layers":["layer/layer.tar"]}]"#,
    );
    archive.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content).unwrap();
}

#[test]
fn a_damaged_archive_is_never_accepted_and_releases_only_its_own_beginning() {
    let plain = archive();
    let key = loader_seal::Key::from_bytes([7; 32]).to_text();
    let key = key_file(&key);
    for suite in ["gcm", "ctr-hmac"] {
        let mut seal = filter("az-encrypt");
        seal.args(["--raw", "--suite", suite, "--segment", "4K", "--key-file"]).arg(key.path());
        let sealed = run(seal, &plain);
        assert_eq!(sealed.status, 0, "{}", sealed.stderr);
        let mut random = Random(2);
        for i in 0..100 {
            let mut damaged = sealed.stdout.clone();
            let at = random.below(damaged.len());
            let what = match i % 4 {
                0 => {
                    damaged.truncate(at);
                    "cut"
                }
                1 => {
                    damaged.insert(at, random.number() as u8);
                    "insert"
                }
                _ => {
                    damaged[at] ^= 1 << random.below(8);
                    "flip"
                }
            };
            let mut open = filter("az-decrypt");
            open.arg("--key-file").arg(key.path());
            let opened = run(open, &damaged);
            let name = format!("{suite}: {what} at {at}");
            events::check_run(&opened.events());
            assert!(matches!(opened.status, 65 | 79), "{name}: {} {}", opened.status, opened.stderr);
            assert!(plain.starts_with(&opened.stdout) && opened.stdout.len() < plain.len(), "{name}");
        }
    }
}

/// Length of an old archive in bytes. It does not fit into a pipe, so the stage blocks in
/// its second pass over the file.
const OLD_LEN: usize = 5 << 20;

#[test]
fn an_old_archive_that_changes_after_its_digest_was_checked_releases_nothing_else() {
    let (key, old) = (Key::from_bytes([9; 32]), Random(12).bytes(OLD_LEN));
    let key = key_file(&key.to_text());
    let mut archive = NamedTempFile::new().unwrap();
    archive.write_all(&old).unwrap();
    let sha256 = digest(&old);
    let command = || {
        let mut command = filter("az-decrypt");
        command.args(["--plain-ctr", "--sha256", &sha256, "--key-file"]).arg(key.path()).arg(archive.path());
        command
    };
    let whole = run(command(), b"");
    assert_eq!((whole.status, whole.stdout.len()), (0, OLD_LEN - 16), "{}", whole.stderr);

    let mut child = command().spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut released = vec![0];
    stdout.read_exact(&mut released).unwrap();
    archive.seek(SeekFrom::Start(OLD_LEN as u64 - 100)).unwrap();
    archive.write_all(&[0xee; 50]).unwrap();
    stdout.read_to_end(&mut released).unwrap();
    let finished = Finished::from(child.wait_with_output().unwrap());
    assert_eq!((finished.status, finished.code()), (65, "changed".to_owned()), "{}", finished.stderr);
    assert!(released.len() <= OLD_LEN - 100 && whole.stdout.starts_with(&released), "{} bytes", released.len());
    assert!(finished.stderr.contains(&format!("nothing after byte {} was released", released.len())));
}

#[test]
fn a_file_with_reported_length_zero_is_sealed_to_its_end() {
    let key = key_file(&Key::from_bytes([9; 32]).to_text());
    let path = "/proc/version";
    let mut seal = filter("az-encrypt");
    seal.arg("--key-file").arg(key.path()).arg(path);
    let sealed = run(seal, b"");
    assert_eq!(sealed.status, 0, "{}", sealed.stderr);
    let mut open = filter("az-decrypt");
    open.arg("--key-file").arg(key.path());
    let opened = run(open, &sealed.stdout);
    assert_eq!((opened.status, opened.stdout), (0, fs::read(path).unwrap()), "{}", opened.stderr);
}
