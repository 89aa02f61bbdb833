//! Signed releases: keys of openssl, what a device refuses, and no way back to an older
//! release. tests/kit has a case for each defect of statement and signature.

use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use tests::site::Site;
use tests::{EventLines, Finished, bash, package_dir, run, write_program};

/// Runs a shell line in the directory of `site`, with the settings of a device.
fn shell(site: &Site, line: &str) -> Finished {
    let mut command = bash(line);
    site.configure(&mut command);
    let state = site.path("state");
    command.current_dir(site.root()).env("STATE_DIRECTORY", state).env("XDG_RUNTIME_DIR", site.path("run"));
    run(command, b"")
}

#[track_caller]
fn succeeds(site: &Site, line: &str) -> Finished {
    let finished = shell(site, line);
    assert_eq!(finished.status, 0, "{line}: {}", finished.stderr);
    finished
}

/// Asserts that the line fails with this status and code, that its last event contains
/// `words`, and that it writes nothing.
#[track_caller]
fn refused(site: &Site, line: &str, (status, code): (i32, &str), words: &str) {
    let finished = shell(site, line);
    assert_eq!((finished.status, finished.code().as_str()), (status, code), "{line}: {}", finished.stderr);
    assert!(finished.stderr.contains(words), "{line}: no {words:?} in {}", finished.stderr);
    assert!(finished.stdout.is_empty(), "{line}: {} bytes", finished.stdout.len());
}

/// Returns a site with the key pairs of two publishers, `alice` and `bob`.
fn with_publishers() -> Site {
    let site = Site::start();
    for name in ["alice", "bob"] {
        succeeds(
            &site,
            &format!(
                "umask 077; openssl genpkey -algorithm ed25519 -out {name}.key; openssl pkey -in {name}.key -pubout -out {name}.pem"
            ),
        );
    }
    fs::create_dir(site.path("run")).unwrap();
    fs::set_permissions(site.path("run"), Permissions::from_mode(0o700)).unwrap();
    site
}

#[test]
fn openssl_makes_the_keys_and_verifies_the_signature() {
    let site = with_publishers();
    let sealed = succeeds(&site, "az-encrypt --key-file key --sign-key-file alice.key --release 7 model -o model.enc");
    assert_eq!(sealed.events().steps(), ["signed"]);
    let report: Value = serde_json::from_str(&succeeds(&site, "az-inspect --key-file key model.enc").text()).unwrap();
    let statement = &report["statement"];
    let id = statement["signatures"][0]["key"].as_str().unwrap();
    assert_eq!(statement["signatures"][0]["valid"], true);
    let openssl_id = succeeds(&site, "openssl pkey -pubin -in alice.pem -outform DER | sha256sum").text();
    assert!(openssl_id.starts_with(id), "{openssl_id}");

    let opened = succeeds(&site, "az-decrypt --key-file key --publisher-key-file alice.pem model.enc");
    assert!(opened.stdout == fs::read(site.path("model")).unwrap());
    assert_eq!(opened.events().steps(), ["signature-verified"]);

    // The message that openssl signs as a token or a KMS would: the signature is the same.
    let program = "#!/bin/sh\ncat > message && openssl pkeyutl -sign -inkey \"$1\" -rawin -in message\n";
    write_program(&site.path("sign"), program);
    let by = |name: &str| format!("--sign-command './sign {name}.key' --sign-public-key-file alice.pem");
    succeeds(&site, &format!("az-encrypt --key-file key {} --release 7 model -o by-command.enc", by("alice")));
    let message = fs::read(site.path("message")).unwrap();
    assert_eq!(message[..14], *b"azs/v1/release");
    assert_eq!(tests::hex(&message[14..]), statement["release_id"].as_str().unwrap());
    succeeds(&site, "az-decrypt --key-file key --publisher-key-file alice.pem --verify-only by-command.enc");

    let config = (78, "config");
    refused(&site, &format!("az-encrypt --key-file key {} model -o x.enc", by("bob")), config, "is not valid for");
    for (command, words) in [
        ("cat", "wrote 46 bytes instead of a signature of 64 bytes"),
        ("false", "failed: exit status: 1"),
        ("./missing", "cannot be started"),
    ] {
        let line = format!(
            "az-encrypt --key-file key --sign-command {command} --sign-public-key-file alice.pem model -o x.enc"
        );
        refused(&site, &line, config, words);
    }
    assert!(!site.path("x.enc").exists());
}

#[test]
fn several_publishers_sign_and_one_key_replaces_another() {
    let site = with_publishers();
    succeeds(&site, "az-encrypt --key-file key --sign-key-file alice.key --sign-key-file bob.key model -o both.enc");
    succeeds(&site, "az-encrypt --key-file key --sign-key-file alice.key model -o alice.enc");
    succeeds(&site, "cat alice.pem bob.pem > publishers.pem");
    let open = |options: &str| format!("az-decrypt --key-file key {options}");
    for options in [
        "--publisher-key-file bob.pem both.enc",
        "--publisher-key-file publishers.pem alice.enc",
        "--publisher-key-file publishers.pem --require-signatures 2 both.enc",
    ] {
        succeeds(&site, &open(options));
    }
    refused(&site, &open("--publisher-key-file bob.pem alice.enc"), (79, "signer_unknown"), "nothing was released");
    let two = "--publisher-key-file alice.pem --publisher-key-file bob.pem --require-signatures 2";
    refused(&site, &open(&format!("{two} alice.enc")), (79, "signatures_missing"), "1 of the configured publishers");
    // The same key twice is one publisher.
    let same = "--publisher-key-file alice.pem --publisher-key-file publishers.pem --require-signatures 3";
    refused(&site, &open(&format!("{same} both.enc")), (78, "config"), "needs 3 publisher keys, not 2");
}

#[test]
fn unsigned_content_is_accepted_only_on_request() {
    let site = with_publishers();
    succeeds(&site, "az-encrypt --key-file key model -o packed.enc; az-encrypt --key-file key --raw model -o raw.enc");
    let plain = fs::read(site.path("model")).unwrap();
    for file in ["packed.enc", "raw.enc"] {
        // The setting of the device is enough.
        let open = format!("export AZ_PUBLISHER_KEY_FILE=alice.pem; az-decrypt --key-file key {file}");
        refused(&site, &open, (65, "unsigned"), "nothing was released");
        refused(&site, &format!("{open} --range 0:10"), (65, "unsigned"), "nothing was released");
        refused(&site, &format!("{open} -o out"), (65, "unsigned"), "nothing was released");
        assert!(!site.path("out").exists());
        let allowed = succeeds(&site, &format!("{open} --allow-unsigned"));
        assert!(allowed.stdout == plain);
        assert_eq!(allowed.events().steps(), ["unsigned-accepted"]);
    }
    refused(
        &site,
        "az-decrypt --key-file key --publisher-key-file alice.pem --plain-ctr packed.enc",
        (65, "unsigned"),
        "no statement that somebody could have signed",
    );
    // In a pipe, the statement comes last: a file waits for it.
    refused(
        &site,
        "az-decrypt --key-file key --publisher-key-file alice.pem -o out < <(cat packed.enc)",
        (65, "unsigned"),
        "nothing was released",
    );
    assert!(!site.path("out").exists());
}

#[test]
fn unusable_keys_are_refused_with_their_reason() {
    let site = with_publishers();
    succeeds(&site, "az-encrypt --key-file key model -o model.enc; cp alice.key open.key; chmod 644 open.key");
    succeeds(
        &site,
        "umask 077; openssl genpkey -algorithm x25519 -out other.key; openssl pkey -in other.key -pubout -out other.pem",
    );
    succeeds(&site, "umask 077; openssl pkey -in alice.key -aes256 -passout pass:x -out encrypted.key; : > empty.pem");
    succeeds(&site, "cp alice.pem shared.pem; chmod 666 shared.pem");
    let config = (78, "config");
    for (file, words) in [
        ("other.pem", "not an Ed25519 public key"),
        ("alice.key", "contains a private key"),
        ("empty.pem", "contains no PEM public key"),
        ("shared.pem", "can be changed by other users"),
    ] {
        let line = format!("az-decrypt --key-file key --publisher-key-file {file} model.enc");
        refused(&site, &line, config, words);
    }
    for (file, words) in [
        ("open.key", "can be read by group or others"),
        ("encrypted.key", "the signing key is encrypted"),
        ("alice.pem", "not an Ed25519 private key"),
        ("other.key", "not an Ed25519 private key"),
    ] {
        refused(&site, &format!("az-encrypt --key-file key --sign-key-file {file} model -o x.enc"), config, words);
    }
    let usage = (2, "usage");
    refused(&site, "az-encrypt --key-file key --raw --sign-key-file alice.key model -o x.enc", usage, "--raw");
    let twice = "az-encrypt --key-file key --sign-key-file alice.key --sign-key-file alice.key model -o x.enc";
    refused(&site, twice, usage, "given twice");
    refused(&site, "az-inspect --publisher-key-file alice.pem model.enc", usage, "need --key-file");
    assert!(!site.path("x.enc").exists());
}

/// Seals the images of the site as this release, signed by alice.
fn release(site: &Site, number: u64) {
    let line =
        format!("az-encrypt --key-file key --sign-key-file alice.key --name images/app --release {number} images.tar");
    succeeds(site, &format!("{line} -o images.enc"));
}

/// Returns the names and contents of the records.
fn records(site: &Site) -> Vec<(String, String)> {
    let files = tests::file_names(&site.path("state")).into_iter().filter(|name| name.starts_with("release-"));
    files.map(|name| (name.clone(), fs::read_to_string(site.path("state").join(name)).unwrap())).collect()
}

/// Returns the number of the newest release in the only record.
#[track_caller]
fn newest(site: &Site) -> u64 {
    let records = records(site);
    let [(name, line)] = &records[..] else { panic!("{records:?}") };
    assert!(!name.ends_with(".new"));
    serde_json::from_str::<Value>(line).unwrap()["release"].as_u64().unwrap()
}

#[test]
fn an_older_release_than_the_newest_one_is_not_unlocked() {
    let site = with_publishers();
    let unlock = |more: &str, sink: &str| {
        let script = package_dir().join("../scripts/unlock");
        let script = script.display();
        format!("{script} --archive images.enc --fragment device.frag --publisher-key-file alice.pem {more} -- {sink}")
    };
    let to_file = |more: &str| unlock(more, "sh -c 'cat > loaded'");
    release(&site, 7);
    succeeds(&site, &to_file("--status-file status.json"));
    assert!(fs::read(site.path("loaded")).unwrap() == fs::read(site.path("images.tar")).unwrap());
    assert_eq!(newest(&site), 7);
    let status: Value = serde_json::from_slice(&fs::read(site.path("status.json")).unwrap()).unwrap();
    let signer = status["stages"]["az-decrypt"]["signed"]["signers"][0].as_str().unwrap();
    let phrase = format!("images/app release 7 signed by {}", &signer[..16]);
    assert!(status["verdict"].as_str().unwrap().ends_with(&phrase), "{status}");
    let mode = fs::metadata(site.path("state").join(&records(&site)[0].0)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A newer release counts once it is loaded.
    release(&site, 9);
    assert_ne!(shell(&site, &unlock("", "sh -c 'cat > loaded; exit 1'")).status, 0);
    assert_eq!(newest(&site), 7);
    release(&site, 8);
    succeeds(&site, &to_file(""));
    assert_eq!(newest(&site), 8, "the proposal of the failed unlock is gone");
    // A proposal that is still there is of an unlock that was killed, maybe after the load.
    let record = &records(&site)[0];
    let proposal = record.1.replace("\"release\":8", "\"release\":9");
    fs::write(site.path("state").join(format!("{}.new", record.0)), proposal).unwrap();
    assert_eq!(shell(&site, &to_file("")).status, 79);
    assert_eq!(newest(&site), 9);
    fs::write(site.path("state").join(&record.0), &record.1).unwrap();
    // In a FIFO, the signatures would come after the content.
    let fifo = "mkfifo fifo; (cat images.enc > fifo &) ; ";
    let from_fifo = to_file("").replace("--archive images.enc", "--archive fifo");
    let refused = shell(&site, &format!("{fifo}{from_fifo}; status=$?; cat fifo > /dev/null; exit $status"));
    assert_eq!(refused.status, 78, "{}", refused.stderr);

    release(&site, 7);
    fs::remove_file(site.path("loaded")).unwrap();
    let old = shell(&site, &to_file(""));
    assert_eq!(old.status, 79, "{}", old.stderr);
    assert!(old.stderr.contains("it is release 7, and this device has unlocked release 8"), "{}", old.stderr);
    assert_eq!(fs::read(site.path("loaded")).unwrap_or_default().len(), 0);
    let downgraded = succeeds(&site, &to_file("--allow-downgrade"));
    assert!(downgraded.stderr.contains("; an older release than the newest one was accepted"), "{}", downgraded.stderr);
    assert_eq!(newest(&site), 8, "the newest release stays the newest");
    assert_eq!(shell(&site, &to_file("")).status, 79);

    // Unsigned content has no release number that counts.
    succeeds(&site, "az-encrypt --key-file key --name images/app --release 99 images.tar -o images.enc");
    assert_eq!(shell(&site, &to_file("")).status, 65);
    let unsigned = succeeds(&site, &to_file("--allow-unsigned"));
    assert!(unsigned.stderr.contains("; unsigned content was accepted"), "{}", unsigned.stderr);
    assert_eq!(newest(&site), 8);

    // Nor has a release without a number.
    let unnumbered = "az-encrypt --key-file key --sign-key-file alice.key --name images/new images.tar -o images.enc";
    succeeds(&site, unnumbered);
    let refused = shell(&site, &to_file(""));
    assert_eq!(refused.status, 79, "{}", refused.stderr);
    assert!(refused.stderr.contains("it has no release number"), "{}", refused.stderr);

    // Another name has its own record.
    let other =
        "az-encrypt --key-file key --sign-key-file alice.key --name images/web --release 1 images.tar -o images.enc";
    succeeds(&site, other);
    succeeds(&site, &to_file(""));
    assert_eq!(records(&site).len(), 2);
    assert_eq!(shell(&site, &format!("AZ_EXPECT_NAME=images/app {}", to_file(""))).status, 79);
}

#[test]
fn a_damaged_record_stops_the_unlock() {
    let site = with_publishers();
    release(&site, 7);
    let open = "az-decrypt --key-file key --publisher-key-file alice.pem --release-records state images.enc";
    fs::create_dir(site.path("state")).unwrap();
    succeeds(&site, open);
    let proposal = &records(&site)[0].0;
    let record = site.path("state").join(proposal.strip_suffix(".new").unwrap());
    let line = fs::read_to_string(site.path("state").join(proposal)).unwrap();
    for damaged in [
        "",
        "{}",
        &line[..line.len() / 2],
        &line.replace("images/app", "images/web"),
        &line.replace("\"v\":1", "\"v\":2"),
    ] {
        fs::write(&record, damaged).unwrap();
        refused(&site, open, (78, "config"), "not a valid record");
    }
    fs::remove_file(&record).unwrap();
    std::os::unix::fs::symlink("missing", &record).unwrap();
    refused(&site, open, (78, "config"), "cannot be read");
}

#[test]
fn a_record_that_others_can_change_stops_the_unlock() {
    let site = with_publishers();
    release(&site, 7);
    let open = "az-decrypt --key-file key --publisher-key-file alice.pem --release-records state images.enc";
    let config = (78, "config");
    let mode = |name: &str, mode| fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
    fs::create_dir(site.path("state")).unwrap();
    mode("state", 0o700);
    succeeds(&site, open);
    let proposal = format!("state/{}", records(&site)[0].0);
    let record = proposal.strip_suffix(".new").unwrap();
    fs::rename(site.path(&proposal), site.path(record)).unwrap();
    succeeds(&site, open);
    for open_to in [0o620, 0o602] {
        mode(record, open_to);
        refused(&site, open, config, "other users can change the record");
    }
    mode(record, 0o600);
    succeeds(&site, open);
    // Who can change the directory can remove the record. The directory of the site protects its own.
    let shared = "umask 0; mkdir -p open/state; chmod 755 . open; chmod 777 open/state";
    succeeds(&site, shared);
    refused(&site, &open.replace("records state", "records open/state"), config, "can be changed by other users");
    succeeds(&site, &format!("chmod 755 open/state; {}", open.replace("records state", "records open/state")));
    succeeds(&site, "ln -s nowhere link");
    refused(&site, &open.replace("records state", "records link"), config, "is not a directory");
}

#[test]
fn an_old_release_in_a_pipe_is_refused_before_its_content() {
    let site = with_publishers();
    release(&site, 8);
    // The directory in which az-load would see how az-decrypt ends.
    let run_dir = "AZ_RUN_DIR=run AZ_RUN=test";
    let open = format!("{run_dir} az-decrypt --key-file key --publisher-key-file alice.pem --release-records state");
    refused(&site, &format!("cat images.enc | {open}"), (73, "cannot_create"), "no such directory");
    fs::create_dir(site.path("state")).unwrap();
    let alone = format!("cat images.enc | {}", open.replace(run_dir, ""));
    refused(&site, &alone, (2, "usage"), "the signatures come after the content");
    fs::set_permissions(site.path("state"), Permissions::from_mode(0o700)).unwrap();
    succeeds(&site, &format!("cat images.enc | {}", open));
    let proposal = site.path("state").join(&records(&site)[0].0);
    fs::rename(&proposal, proposal.with_extension("")).unwrap();
    release(&site, 7);
    let piped = |more: &str| format!("cat images.enc | {} {more}", open);
    let old = (79, "release_too_old");
    refused(&site, &piped(""), old, "this device has unlocked release 8; nothing was released");
    refused(&site, &piped("--min-release 9"), old, "older than --min-release 9; nothing was released");
    refused(&site, &piped("--expect-name images/web"), (79, "name_mismatch"), "nothing was released");
    let downgraded = succeeds(&site, &piped("--allow-downgrade"));
    assert!(downgraded.stdout == fs::read(site.path("images.tar")).unwrap());
}
