//! Runs every script in `examples/` unchanged.

use loader_testkit::wait_until;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use tempfile::TempDir;
use tests::site::{Site, has_engine};
use tests::{Finished, Random, bash, package_dir, run, say};

/// Returns a command for `examples/<name>` in the directory `dir`, with the environment
/// described in `examples/README.md`.
fn script(site: &Site, name: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = bash(r#"exec "$0" "$@""#);
    command.arg(package_dir().join("../examples").join(name)).args(args).current_dir(dir);
    site.configure(&mut command);
    command
}

/// Runs a script that must succeed.
fn succeed(command: Command, input: &[u8]) -> Finished {
    let finished = run(command, input);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    finished
}

/// Runs a script in a new directory.
fn example(site: &Site, name: &str, args: &[&str], sink: &str, input: &[u8]) -> (TempDir, Finished) {
    let dir = TempDir::new().unwrap();
    let mut command = script(site, name, args, dir.path());
    command.env("SINK", sink);
    let finished = succeed(command, input);
    (dir, finished)
}

/// Like [`script`], as a user who may upload, with the key of the site.
fn as_publisher(site: &Site, name: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = script(site, name, args, dir);
    command.env("AZ_CREDENTIALS_FILE", site.path("uploader.json")).env("AZ_KEY_FILE", site.path("key"));
    command
}

fn listing(archive: &Path) -> String {
    let mut command = bash(r#"tar t < "$0""#);
    command.arg(archive);
    run(command, b"").text()
}

#[test]
fn every_example_has_a_test() {
    let mut names: Vec<_> = fs::read_dir(package_dir().join("../examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains('.') && name != "README.md")
        .collect();
    names.sort();
    let tested = [
        "fetch-model.sh",
        "mirror-models.sh",
        "open-with-tink.py",
        "patch-with-python.py",
        "publish-archive.sh",
        "publish-from-ci.sh",
        "rekey-published.sh",
        "rerun-one-step.sh",
        "rotate-fragment.sh",
        "rotate-publisher.sh",
        "stick-export.sh",
        "stick-open.sh",
        "unlock.sh",
        "update.sh",
        "verify-with-python.py",
        "where-it-failed.sh",
    ];
    assert_eq!(names, tested, "a script without a test of its own, or a test without its script");
}

#[test]
fn shellcheck_reports_nothing() {
    let mut command = bash(
        "command -v shellcheck >/dev/null || exit 66
        mapfile -t scripts < <(grep -rlE '^#!.*bash' examples scripts .ci)
        shellcheck --severity=warning \"${scripts[@]}\"",
    );
    command.current_dir(package_dir().join(".."));
    match run(command, b"") {
        Finished { status: 66, .. } => say("skipped: shellcheck is not installed"),
        finished => assert_eq!(finished.status, 0, "{}", finished.text()),
    }
}

#[test]
fn unlock() {
    let site = Site::start();
    let (_, finished) = example(&site, "unlock.sh", &[], "tar t", b"");
    assert_eq!(finished.text(), listing(&site.path("images.tar")));
}

#[test]
fn unlock_into_the_engine() {
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let site = Site::start();
    let (_, finished) = example(&site, "unlock.sh", &[], "docker load", b"");
    for tag in site.tags() {
        assert!(finished.text().contains(tag), "{}", finished.text());
        let removed = std::process::Command::new("docker").args(["image", "rm", tag]).output().unwrap();
        assert!(removed.status.success(), "{tag} was not there");
    }
}

#[test]
fn rerun_one_step() {
    let site = Site::start();
    let (_, finished) = example(&site, "rerun-one-step.sh", &[], "tar t", b"");
    let list = listing(&site.path("images.tar"));
    assert_eq!(finished.text(), format!("{list}first attempt done\n{list}second attempt done\n"));
}

#[test]
fn fetch_model() {
    let site = Site::start();
    let key = site.path("key");
    let (_, finished) = example(&site, "fetch-model.sh", &["models/yolo.onnx", key.to_str().unwrap()], "", b"");
    assert!(finished.stdout == fs::read(site.path("model")).unwrap(), "other bytes");
}

#[test]
fn publish_archive() {
    let site = Site::start();
    let archive = fs::read(site.path("images.tar")).unwrap();
    let (dir, finished) = example(&site, "publish-archive.sh", &["."], "", &archive);
    assert!(finished.text().starts_with(r#"{"verified":false,"#), "{}", finished.text());
    let mut command = bash("az-join fragment-*.frag | az-decrypt --key-file - images.enc");
    command.current_dir(dir.path());
    assert!(run(command, b"").stdout == archive, "other bytes");
}

#[test]
fn where_it_failed() {
    let site = Site::start();
    let (_, finished) = example(&site, "where-it-failed.sh", &[], "", b"");
    assert!(finished.text().contains("az-login"), "{}", finished.text());
    assert!(finished.text().contains("its exit status: 77"), "{}", finished.text());
}

/// Kills the script in `child` and its children, as a CI system would.
fn kill(mut child: Child) {
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn publish_from_ci_and_again_after_kills() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("archive");
    // Three parts of the upload and a small part.
    fs::write(&archive, Random(9).bytes(24 << 20)).unwrap();
    let (archive, text) = (fs::read(&archive).unwrap(), archive.to_str().unwrap().to_owned());
    let publish = |save: &[&str]| {
        let args = [&["images/app", "14", "state"], save].concat();
        as_publisher(&site, "publish-from-ci.sh", &args, dir.path())
    };
    let state = dir.path().join("state/images/app-14");

    // The job is killed while it saves the archive.
    let killed = run(publish(&["bash", "-c", r#"head -c 1000000 "$0"; kill -9 $PPID"#, &text]), b"");
    assert_ne!(killed.status, 0);
    assert!(!state.join("sealed").exists());
    // The job is killed during the upload, after its state file was created.
    let mut command = publish(&["cat", &text]);
    let child = command.process_group(0).stdin(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the upload has begun", || {
        state.join("receipt.json").exists() || fs::read_dir(state.join("images")).map_or(0, Iterator::count) > 0
    });
    kill(child);
    let sealed = fs::read(state.join("sealed")).unwrap();
    // The archive is not saved or sealed again.
    let receipt = succeed(publish(&["false"]), b"").text();
    assert!(fs::read(state.join("sealed")).unwrap() == sealed, "sealed again");
    assert!(!state.join("archive").exists() && !state.join("jwt").exists(), "left behind");
    assert_eq!(succeed(publish(&["false"]), b"").text(), receipt);

    let mut fetch = script(&site, "fetch-model.sh", &["images/app", site.path("key").to_str().unwrap()], dir.path());
    fetch.env("AZ_CREDENTIALS_FILE", site.path("uploader.json"));
    assert!(succeed(fetch, b"").stdout == archive, "other bytes");
}

#[test]
fn mirror_models() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    for name in ["fleet/one", "fleet/two"] {
        succeed(as_publisher(&site, "publish-from-ci.sh", &[name, "1", "state", "echo", name], dir.path()), b"");
    }
    let mirror = || as_publisher(&site, "mirror-models.sh", &["fleet", "mirror"], dir.path());
    let lines = succeed(mirror(), b"").text();
    assert!(lines.contains(r#""name":"fleet/one""#) && lines.contains(r#""name":"fleet/two""#), "{lines}");
    succeed(mirror(), b"");
    let mut open = bash(r#"az-decrypt --key-file "$0" mirror/fleet/two"#);
    open.arg(site.path("key")).current_dir(dir.path());
    assert_eq!(run(open, b"").text(), "fleet/two\n");
    // A directory with damaged resources is not a mirror.
    let damaged = as_publisher(&site, "mirror-models.sh", &["models", "mirror"], dir.path());
    assert_eq!(run(damaged, b"").status, 65);
}

/// A server that lists names which the shell would read as an option, another path, or two names.
#[test]
fn mirror_models_refuses_unsafe_names() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let list = dir.path().join("list");
    // A replacement for az-fetch that returns the list, and passes other requests on.
    let wrapper = format!(
        "#!/bin/bash\n[[ \" $* \" = *' -- list fleet '* ]] && exec cp {} \"$4\"\ntouch {}/fetched\nexec {} \"$@\"\n",
        list.display(),
        dir.path().display(),
        tests::binary("az-fetch").display()
    );
    tests::write_program(&dir.path().join("bin/az-fetch"), wrapper);
    let mirror = || {
        let mut command = as_publisher(&site, "mirror-models.sh", &["fleet", "mirror"], dir.path());
        command.env("PATH", format!("{}:{}", dir.path().join("bin").display(), tests::path_variable()));
        run(command, b"")
    };
    for name in [
        r"x\n--events-file=made",
        r"--events-file=made",
        r"one\u0000--events-file=made",
        "../../made",
        "a/b",
        "",
        r"one\n",
    ] {
        fs::write(&list, format!("{{\"name\":\"{name}\"}}\n")).unwrap();
        let finished = mirror();
        assert_eq!(finished.status, 5, "{name}: {}", finished.stderr);
        assert!(finished.stderr.contains("a name that is not allowed"), "{name}: {}", finished.stderr);
        assert!(!dir.path().join("made").exists() && !dir.path().join("fetched").exists(), "{name}");
    }
    for line in [r#"{"name":7}"#, "{}"] {
        fs::write(&list, line).unwrap();
        assert_eq!(mirror().status, 5, "{line}");
    }
    fs::write(&list, "").unwrap();
    assert_eq!(mirror().status, 0);
    fs::write(&list, r#"{"name":"none"}"#).unwrap();
    assert_eq!(mirror().status, 66, "a good name is asked for");
    assert!(dir.path().join("fetched").exists());
}

#[test]
fn publish_from_ci_refuses_names_outside_its_state_directory() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    for (name, release) in [("../x", "1"), ("-x", "1"), ("a//b", "1"), ("a", "../1"), ("a", "-1")] {
        let command = as_publisher(&site, "publish-from-ci.sh", &[name, release, "state", "true"], dir.path());
        assert_eq!(run(command, b"").status, 2, "{name} {release}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn update() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let mut content = Random(9).bytes(3 << 20);
    let mut publish = |release: u8, patches: &str| {
        content[usize::from(release) * 1000] ^= 1;
        let file = dir.path().join(format!("archive-{release}"));
        fs::write(&file, &content).unwrap();
        let args = ["images/app", &release.to_string(), "state", "cat", file.to_str().unwrap()];
        let mut command = as_publisher(&site, "publish-from-ci.sh", &args, dir.path());
        command.env("PATCHES", patches);
        succeed(command, b"");
        content.clone()
    };
    let update = || {
        let mut command = script(&site, "update.sh", &["images/app"], dir.path());
        command.env("IMAGES", dir.path().join("app.enc"));
        run(command, b"")
    };
    let opened = || {
        let mut command = bash("az-decrypt --key-file \"$0\" app.enc");
        command.arg(site.path("key")).current_dir(dir.path());
        succeed(command, b"").stdout
    };
    publish(1, "1");
    fs::copy(dir.path().join("state/images/app-1/sealed"), dir.path().join("app.enc")).unwrap();
    assert_eq!(update().text(), "", "it is the published release");
    // Two patches, one after the other.
    publish(2, "1");
    let third = publish(3, "1");
    let updated = update();
    assert_eq!(updated.status, 0, "{}", updated.stderr);
    assert_eq!(updated.text().lines().filter(|line| line.contains("patched with")).count(), 2, "{}", updated.text());
    assert!(opened() == third, "other bytes");
    // No patch: the whole archive.
    let fourth = publish(4, "0");
    let updated = update();
    assert!(updated.text().contains("replaced by release 4"), "{} {}", updated.text(), updated.stderr);
    assert!(opened() == fourth, "other bytes");
    // A server that cannot be reached changes nothing.
    publish(5, "1");
    let before = fs::read(dir.path().join("app.enc")).unwrap();
    let mut command = script(&site, "update.sh", &["images/app"], dir.path());
    command.env("IMAGES", dir.path().join("app.enc")).env("AZ_API_URL", "http://127.0.0.1:9").env("AZ_RETRIES", "0");
    assert_eq!(run(command, b"").status, 75);
    assert!(fs::read(dir.path().join("app.enc")).unwrap() == before);
}

#[test]
fn rotate_fragment() {
    let site = Site::start();
    let (dir, finished) = example(&site, "rotate-fragment.sh", &["new"], "", b"");
    assert!(finished.text().starts_with(r#"{"verified":true,"#), "{}", finished.text());
    let join = |line: &str| {
        let mut command = bash(line);
        site.configure(command.current_dir(dir.path()));
        run(command, b"")
    };
    let key = fs::read_to_string(site.path("key")).unwrap();
    assert_eq!(join("az-join new/fragment-*.frag").text(), key);
    assert_eq!(join("az-login | az-fetch key-fragment | az-join - \"$DEVICE_FRAGMENT\"").text(), key);
    assert_eq!(join("az-join new/fragment-1-of-2.frag \"$DEVICE_FRAGMENT\"").status, 79);
    assert!(!dir.path().join("new/old-server.frag").exists());
}

#[test]
fn rotate_publisher() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let script = package_dir().join("../examples/rotate-publisher.sh");
    let run_in = |line: &str| {
        let mut command = bash(line);
        site.configure(command.current_dir(dir.path()).env("SCRIPT", &script).env("KEY", site.path("key")));
        run(command, b"")
    };
    let made = run_in("umask 077; \"$SCRIPT\" new old && \"$SCRIPT\" new new");
    assert_eq!(made.status, 0, "{}", made.stderr);
    let ids: Vec<String> = made.text().lines().map(str::to_owned).collect();
    assert_eq!(run_in("\"$SCRIPT\" both old/publisher.pem new/publisher.pem > both.pem").status, 0);
    assert_eq!(run_in("\"$SCRIPT\" new old").status, 73, "a key was replaced");
    assert_ne!(run_in("\"$SCRIPT\" both old/publisher.pem missing.pem").status, 0);
    for (name, id) in ["old", "new"].iter().zip(&ids) {
        let sealed = run_in(&format!(
            "az-encrypt --key-file \"$KEY\" --sign-key-file {name}/publisher.key both.pem -o {name}.enc"
        ));
        assert!(sealed.status == 0 && sealed.stderr.contains(id), "{}", sealed.stderr);
        assert_eq!(
            run_in(&format!("az-decrypt --key-file \"$KEY\" --publisher-key-file both.pem {name}.enc")).status,
            0
        );
    }
    assert_eq!(run_in("az-decrypt --key-file \"$KEY\" --publisher-key-file new/publisher.pem old.enc").status, 79);
}

#[test]
fn verify_with_python() {
    if std::env::var("AZ_SKIP_TINK").is_ok_and(|value| value == "1") {
        say("skipped: AZ_SKIP_TINK=1");
        return;
    }
    let site = Site::start();
    let python = std::env::var_os("AZ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let shell = |line: &str| {
        let mut command = bash(line);
        site.configure(command.current_dir(site.root()).env("PYTHON", &python));
        command.env("EXAMPLES", package_dir().join("../examples"));
        run(command, b"")
    };
    let made = shell(
        "umask 077; for name in alice bob; do
            \"$EXAMPLES/rotate-publisher.sh\" new $name || exit
            az-encrypt --key-file key --sign-key-file $name/publisher.key --release 7 model -o $name.enc || exit
        done; az-encrypt --key-file key model -o unsigned.enc",
    );
    assert_eq!(made.status, 0, "{}", made.stderr);
    let verify = |sealed: &str, change: &str, publishers: &str| {
        let open = format!("\"$PYTHON\" \"$EXAMPLES/open-with-tink.py\" key < {sealed}");
        shell(&format!("{open} | {change} | \"$PYTHON\" \"$EXAMPLES/verify-with-python.py\" {publishers}"))
    };
    let good = verify("alice.enc", "cat", "bob/publisher.pem alice/publisher.pem");
    assert_eq!(good.status, 0, "{}", good.stderr);
    assert!(good.stdout == fs::read(site.path("model")).unwrap());
    assert!(good.stderr.contains("release 7"), "{}", good.stderr);
    for (sealed, change, publishers, words) in [
        ("bob.enc", "cat", "alice/publisher.pem", "no publisher has signed it"),
        ("unsigned.enc", "cat", "alice/publisher.pem", "no publisher has signed it"),
        (
            "alice.enc",
            "sed 's/\\x05\\x00\\x00\\x00\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07/\\x05\\x00\\x00\\x00\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x08/'",
            "alice/publisher.pem",
            "a signature is not valid",
        ),
    ] {
        let refused = verify(sealed, change, publishers);
        assert!(refused.status == 1 && refused.stdout.is_empty(), "{sealed}");
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

#[test]
fn rekey_published() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    succeed(
        as_publisher(
            &site,
            "publish-from-ci.sh",
            &["fleet/app", "1", "state", "cat", &site.path("model").to_string_lossy()],
            dir.path(),
        ),
        b"",
    );
    let mut new_key = bash("az-split --new-key | az-join - -o new.key");
    new_key.current_dir(dir.path());
    succeed(new_key, b"");
    let key = site.path("key").to_str().unwrap().to_owned();
    let mut rekey = as_publisher(&site, "rekey-published.sh", &["fleet/app", &key, &at("new.key")], dir.path());
    rekey.env_remove("AZ_KEY_FILE");
    let line = succeed(rekey, b"").text();
    assert!(line.starts_with(r#"{"name":"fleet/app","changed":true,"#), "{line}");

    let fetch = |key: &str| {
        let mut command = script(&site, "fetch-model.sh", &["fleet/app", key], dir.path());
        command.env("AZ_CREDENTIALS_FILE", site.path("uploader.json"));
        run(command, b"")
    };
    assert!(fetch(&at("new.key")).stdout == fs::read(site.path("model")).unwrap(), "other bytes");
    assert_eq!(fetch(&key).status, 79);
}

#[test]
fn stick() {
    let site = Site::with_sealed_fragment();
    let (dir, _) = example(&site, "stick-export.sh", &["stick", "models/yolo.onnx"], "", b"");
    let open = || {
        let mut command = script(&site, "stick-open.sh", &["stick", "models/yolo.onnx"], dir.path());
        // No server from here on.
        command.env("AZ_API_URL", "http://127.0.0.1:1");
        command
    };
    assert!(succeed(open(), b"").stdout == fs::read(site.path("model")).unwrap(), "other bytes");
    let mut elsewhere = open();
    elsewhere.env("AZ_HWID_FILE", site.path("other.hwid"));
    let elsewhere = run(elsewhere, b"");
    assert!(elsewhere.status != 0 && elsewhere.stdout.is_empty(), "{}", elsewhere.stderr);
}

#[test]
fn patch_with_python() {
    if std::env::var("AZ_SKIP_TINK").is_ok_and(|value| value == "1") {
        say("skipped: AZ_SKIP_TINK=1");
        return;
    }
    let site = Site::start();
    let python = std::env::var_os("AZ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut line = bash(
        r#"umask 077; export AZ_EVENTS=off
        seq 1 200000 > old; (seq 1 100000; echo new; seq 100001 200000) > new
        for i in old new; do az-encrypt --key-file key -o $i.enc $i || exit; done
        az-diff --key-file key old.enc new.enc -o patch &&
            "$PYTHON" "$EXAMPLES/open-with-tink.py" key < patch > opened &&
            "$PYTHON" "$EXAMPLES/patch-with-python.py" old opened made && cmp made new || exit
        # Numbers of 4 bytes that all moved a little.
        "$PYTHON" -c 'import random, struct
r = random.Random(1); a = [r.randrange(2**31) for _ in range(100000)]
for name, step in ("old", 0), ("new", 9): open(name, "wb").write(b"abc" + struct.pack("<100000I", *(x + r.randrange(step + 1) for x in a)))'
        for i in old new; do az-encrypt --key-file key -o $i.enc $i || exit; done
        az-diff --key-file key old.enc new.enc -o patch &&
            "$PYTHON" "$EXAMPLES/open-with-tink.py" key < patch > opened &&
            "$PYTHON" "$EXAMPLES/patch-with-python.py" old opened made && cmp made new && stat -c %s patch
        "#,
    );
    line.current_dir(site.root()).env("PYTHON", &python).env("EXAMPLES", package_dir().join("../examples"));
    let made = run(line, b"");
    assert_eq!(made.status, 0, "{}", made.stderr);
    let text = String::from_utf8(made.stdout).unwrap();
    let patch_len: u64 = text.lines().last().unwrap().parse().unwrap();
    assert!(patch_len < 150_000, "no differences are used: {text}");
}

#[test]
fn open_with_tink() {
    if std::env::var("AZ_SKIP_TINK").is_ok_and(|value| value == "1") {
        say("skipped: AZ_SKIP_TINK=1");
        return;
    }
    let site = Site::start();
    let python = std::env::var_os("AZ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let tink = |sealed: &[u8], key: &str| {
        let mut command = bash(r#"exec "$0" "$@""#);
        command.arg(&python).arg(package_dir().join("../examples/open-with-tink.py")).arg(site.path(key));
        run(command, sealed)
    };
    for suite in ["gcm", "ctr-hmac"] {
        let mut seal = bash(r#"az-encrypt --raw --segment 4K --suite "$0" --key-file "$1" "$2""#);
        seal.arg(suite).arg(site.path("key")).arg(site.path("model"));
        let mut sealed = succeed(seal, b"").stdout;
        let opened = tink(&sealed, "key");
        assert_eq!(opened.status, 0, "{}", opened.stderr);
        let mut ours = bash(r#"az-decrypt --key-file "$0""#);
        ours.arg(site.path("key"));
        assert!(opened.stdout == succeed(ours, &sealed).stdout && !opened.stdout.is_empty(), "{suite}: other bytes");
        assert!(tink(&sealed, "device.frag").stderr.contains("not a key line"));
        sealed[50] ^= 1;
        assert!(tink(&sealed, "key").stderr.contains("does not open the file"));
        sealed[50] ^= 1;
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        assert_eq!(tink(&sealed, "key").status, 1, "{suite}: a changed tag was taken");
    }
    let mut seal = bash(r#"az-encrypt --key-file "$0" < "$1""#);
    seal.arg(site.path("key")).arg(site.path("model"));
    let packed = tink(&succeed(seal, b"").stdout, "key");
    let unpacked = succeed(bash("zstd -d -c"), &packed.stdout).stdout;
    assert!(unpacked == fs::read(site.path("model")).unwrap(), "zstd reads other content");
}
