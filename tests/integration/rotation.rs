//! Key rotation without moving the sealed data: for a published resource, and for the
//! fragments of one device.

use loader_testkit::RequestLine;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use tests::site::Site;
use tests::{Finished, bash, run, say};

/// Runs a shell line in the site's directory.
fn shell(site: &Site, line: &str) -> Finished {
    let mut command = bash(line);
    site.configure(&mut command);
    command.current_dir(site.root());
    run(command, b"")
}

#[track_caller]
fn succeeds(site: &Site, line: &str) -> Finished {
    let finished = shell(site, line);
    assert_eq!(finished.status, 0, "{line}: {}", finished.stderr);
    finished
}

/// Asserts that the line ends with this status and these words.
#[track_caller]
fn refused(site: &Site, line: &str, status: i32, words: &str) {
    let finished = shell(site, line);
    assert_eq!(finished.status, status, "{line}: {}", finished.stderr);
    assert!(finished.stderr.contains(words), "{line}: no {words:?} in {}", finished.stderr);
}

const PUBLISHED: &str = "az-fetch --part published models/yolo.onnx < jwt";
const OPEN: &str = "az-fetch --token-file jwt --cdn-file cdn.json models/yolo.onnx | az-decrypt --key-file";
const PUSH: &str = "az-push --token-file uploader.jwt --cdn-file upload.json --small";

/// Returns a site with a new key and with credentials that may upload.
fn with_new_key() -> Site {
    let site = Site::start();
    succeeds(&site, "az-split --new-key -o new.frags && az-join new.frags -o new.key");
    let creds = "AZ_CREDENTIALS_FILE=uploader.json az-cdn-creds --uploader --token-file uploader.jwt -o upload.json";
    succeeds(&site, creds);
    site
}

#[test]
fn the_key_of_a_published_resource_is_replaced_and_the_big_part_stays() {
    let site = with_new_key();
    let object = site.server().objects_dir().join("models/yolo.onnx.big");
    let (before, stat) = (fs::read(&object).unwrap(), fs::metadata(&object).unwrap());
    assert!(succeeds(&site, &format!("{OPEN} key")).stdout == fs::read(site.path("model")).unwrap());
    let rotate = format!("{PUBLISHED} | az-rekey --key-file key --add new.key --replace | {PUSH} models/yolo.onnx");
    let receipt: Value = serde_json::from_str(&succeeds(&site, &rotate).text()).unwrap();
    assert_eq!(receipt["changed"], true);
    assert_eq!(receipt["big"]["size"], before.len());

    assert!(succeeds(&site, &format!("{OPEN} new.key")).stdout == fs::read(site.path("model")).unwrap());
    refused(&site, &format!("{OPEN} key"), 79, "wrong key");
    let after = fs::metadata(&object).unwrap();
    assert!(fs::read(&object).unwrap() == before);
    assert_eq!((after.ino(), after.mtime_nsec()), (stat.ino(), stat.mtime_nsec()));
    let sent = |line: &&RequestLine| !["GET", "HEAD"].contains(&&*line.method) && line.path.ends_with(".big");
    assert_eq!(site.server().requests().iter().filter(sent).count(), 0);

    // Repeating it changes nothing, and the ETag stays the same.
    let again = format!("{PUBLISHED} | {PUSH} models/yolo.onnx");
    let second: Value = serde_json::from_str(&succeeds(&site, &again).text()).unwrap();
    assert_eq!((&second["changed"], &second["etag"]), (&Value::Bool(false), &receipt["etag"]));
    assert!(receipt["etag"].is_string());
}

/// A pushed object records the ETag it was pushed with. Other keys must not make it look
/// like a different release.
#[test]
fn a_pushed_object_keeps_its_etag_with_another_key() {
    let site = with_new_key();
    let pushed = "az-push --token-file uploader.jwt --cdn-file upload.json models/new.onnx";
    let first = succeeds(&site, &format!("az-encrypt --key-file key --release 3 model | {pushed}"));
    let first: Value = serde_json::from_str(&first.text()).unwrap();
    let fetch = "az-fetch --part published models/new.onnx < jwt";
    let rotate = format!("{fetch} | az-rekey --key-file key --add new.key --replace | {PUSH} models/new.onnx");
    let second: Value = serde_json::from_str(&succeeds(&site, &rotate).text()).unwrap();
    assert_eq!(
        (&second["etag"], &second["big"], &second["release"]),
        (&first["etag"], &first["big"], &first["release"])
    );
    assert_ne!(second["small"]["sha256"], first["small"]["sha256"]);
    let open = "az-fetch --token-file jwt --cdn-file cdn.json models/new.onnx | az-decrypt --key-file new.key";
    assert!(succeeds(&site, open).stdout == fs::read(site.path("model")).unwrap());
}

#[test]
fn a_small_part_of_something_else_is_not_published() {
    let site = with_new_key();
    let published = site.server().resources_dir().join("models/yolo.onnx");
    let before = fs::read(&published).unwrap();
    succeeds(&site, &format!("{PUBLISHED} > part"));
    succeeds(&site, "head -c -1 part > cut; az-fetch --part small models/yolo.onnx < jwt > small");
    for (line, status, words) in [
        (format!("{PUSH} models/yolo.onnx cut"), 65, "not the one of its receipt"),
        (format!("{PUSH} models/yolo.onnx small"), 65, "no receipt before the small part"),
        (format!("{PUSH} models/cut.onnx part"), 65, "its receipt is that of models/yolo.onnx"),
        (format!("{PUSH} models/yolo.onnx < /dev/null"), 65, "no receipt"),
        (
            "az-fetch --part published models/gone.onnx < jwt | ".to_owned() + PUSH + " models/gone.onnx",
            73,
            "not the one of this small part",
        ),
        (
            "az-fetch --part published models/cut.onnx < jwt | ".to_owned() + PUSH + " models/cut.onnx",
            73,
            "not the one of this small part",
        ),
        (format!("{PUSH} --replace models/yolo.onnx part"), 2, "--replace"),
    ] {
        refused(&site, &line, status, words);
    }
    assert!(fs::read(&published).unwrap() == before);
}

#[test]
fn the_fragments_of_one_device_are_replaced_and_the_key_stays() {
    let site = Site::start();
    let server = "az-fetch key-fragment < jwt";
    succeeds(&site, &format!("mkdir new; {server} | az-join - device.frag | az-split -d new --set-card new/card.json"));
    let opened = succeeds(&site, "az-join --set-card new/card.json new/*.frag | az-decrypt --key-file - images.enc");
    assert!(opened.stdout == fs::read(site.path("images.tar")).unwrap());
    // Until both sides have their new fragment, the error names the old one.
    refused(&site, &format!("{server} | az-join - new/fragment-2-of-2.frag"), 79, "the key was split again");
    refused(&site, "az-join --set-card new/card.json new/fragment-1-of-2.frag device.frag", 79, "is stale");
}

/// Returns the number of bytes written by a process according to strace; `None` without
/// strace.
fn written(site: &Site, line: &str) -> Option<u64> {
    let calls = "write,writev,pwrite64,pwritev,pwritev2,sendfile,splice,copy_file_range";
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        say("skipped: strace is required to count written bytes");
        return None;
    }
    succeeds(site, &format!("strace -f -qq -o trace -e trace={calls} {line}"));
    let trace = fs::read_to_string(site.path("trace")).unwrap();
    let bytes = trace.lines().filter_map(|call| call.rsplit_once(" = ")?.1.trim().parse::<u64>().ok());
    Some(bytes.sum())
}

#[test]
fn rekeying_ten_gibibytes_writes_a_few_hundred_bytes() {
    let site = with_new_key();
    succeeds(&site, "az-encrypt --key-file key /dev/null > big && truncate -s 10G big");
    let before = fs::metadata(site.path("big")).unwrap();
    let rotate = "az-rekey --key-file key --add new.key --replace big";
    if let Some(bytes) = written(&site, rotate) {
        assert!((64..4096).contains(&bytes), "{bytes} bytes were written");
        let after = fs::metadata(site.path("big")).unwrap();
        assert_eq!((after.len(), after.ino(), after.blocks()), (10 << 30, before.ino(), before.blocks()));
        succeeds(&site, "head -c 64K big | az-inspect --key-file new.key");
    }
}
