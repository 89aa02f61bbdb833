//! The complete pipeline, from credentials to the archive or to images in the engine, with
//! real processes and a server on loopback.

use loader_testkit::wait_until;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tests::events::{self, Events};
use tests::site::{PASSWORD, Site, has_engine};
use tests::{EventLines, Finished, Random, bash, package_dir, run, say};

const LINE: &str =
    r#"az-login | az-fetch key-fragment | az-join - "$DEVICE_FRAGMENT" | az-decrypt --key-file - "$IMAGES""#;

/// Runs `LINE` with `settings` overriding those of the site. The exit status of each stage
/// is written to the file `statuses`.
fn unlock(site: &Site, settings: &[(&str, &str)]) -> (Finished, Vec<i32>) {
    let mut command = bash(&format!("{LINE}; echo \"${{PIPESTATUS[@]}}\" > \"$STATUSES\""));
    let statuses = tempfile::NamedTempFile::new().unwrap();
    site.configure(&mut command);
    command.env("STATUSES", statuses.path()).envs(settings.iter().copied());
    let finished = run(command, b"");
    let statuses = fs::read_to_string(statuses.path()).unwrap();
    (finished, statuses.split_whitespace().map(|status| status.parse().unwrap()).collect())
}

/// Returns the event lines of a stage, which must be one run.
fn stage(finished: &Finished, name: &str) -> Events {
    let lines = finished.events().0.into_iter().filter(|line| line["stage"] == name).collect();
    let events = Events(lines);
    events::check_run(&events);
    events
}

fn code(finished: &Finished, name: &str) -> String {
    stage(finished, name).error_code().unwrap_or_default()
}

fn check_no_secret(site: &Site, finished: &Finished) {
    for name in ["jwt", "device.frag", "key", "credentials.json"] {
        let secret = fs::read_to_string(site.path(name)).unwrap();
        assert!(!finished.stderr.contains(secret.trim()), "tells {name}: {}", finished.stderr);
    }
    for secret in [PASSWORD, "eyJ", "AZ-FRAG-1Q", "AZ-SECRET-KEY-1Q"] {
        assert!(!finished.stderr.contains(secret), "tells {secret}: {}", finished.stderr);
    }
}

#[test]
fn the_pipeline_writes_the_archive() {
    let site = Site::start();
    let (finished, statuses) = unlock(&site, &[]);
    assert_eq!(statuses, [0; 4], "{}", finished.stderr);
    assert!(finished.stdout == fs::read(site.path("images.tar")).unwrap(), "other bytes");
    for name in ["az-login", "az-fetch", "az-join", "az-decrypt"] {
        assert_eq!(*stage(&finished, name).states().last().unwrap(), "ready");
    }
    check_no_secret(&site, &finished);
}

#[test]
fn a_fragment_sealed_to_user_and_hardware_is_opened() {
    let site = Site::with_sealed_fragment();
    let (finished, statuses) = unlock(&site, &[]);
    assert_eq!(statuses, [0; 4], "{}", finished.stderr);
    assert!(finished.stdout == fs::read(site.path("images.tar")).unwrap(), "other bytes");
    let other = site.path("other.hwid");
    let (finished, statuses) = unlock(&site, &[("AZ_HWID_FILE", other.to_str().unwrap())]);
    assert_eq!(statuses, [0, 79, 65, 65], "{}", finished.stderr);
    check_no_secret(&site, &finished);
}

#[test]
fn a_wrong_password_is_the_cause_and_nothing_is_fetched() {
    let site = Site::start();
    let wrong = site.path("wrong.json");
    let (finished, statuses) = unlock(&site, &[("AZ_CREDENTIALS_FILE", wrong.to_str().unwrap())]);
    assert_eq!(statuses, [77, 65, 65, 65], "{}", finished.stderr);
    assert!(finished.stderr.contains("login refused for operator@example.com"), "{}", finished.stderr);
    assert_eq!(code(&finished, "az-login"), "not_permitted");
    for victim in ["az-fetch", "az-join", "az-decrypt"] {
        assert_eq!(code(&finished, victim), "no_input", "{victim}");
    }
    assert!(finished.stdout.is_empty());
    let paths: Vec<_> = site.server().requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/login"]);
    assert!(!finished.stderr.contains("not the password"));
}

#[test]
fn a_server_that_is_down_is_temporary_after_the_retries() {
    let site = Site::start();
    let (finished, statuses) = unlock(&site, &[("AZ_API_URL", "http://127.0.0.1:1"), ("AZ_RETRIES", "1")]);
    assert_eq!(statuses, [75, 65, 65, 65], "{}", finished.stderr);
    assert_eq!(stage(&finished, "az-login").steps(), ["retry"]);
    assert!(finished.stdout.is_empty());
}

#[test]
fn a_fragment_of_another_set_is_reported_with_its_set() {
    let site = Site::start();
    let foreign = site.path("foreign.frag");
    let (finished, statuses) = unlock(&site, &[("DEVICE_FRAGMENT", foreign.to_str().unwrap())]);
    assert_eq!(statuses, [0, 0, 79, 65], "{}", finished.stderr);
    assert_eq!(code(&finished, "az-join"), "wrong_fragment");
    assert!(finished.stderr.contains("is from another set"), "{}", finished.stderr);
    assert!(finished.stdout.is_empty());
    check_no_secret(&site, &finished);
}

#[test]
fn a_damaged_archive_releases_only_its_beginning() {
    let site = Site::start();
    let (plain, sealed) = (fs::read(site.path("images.tar")).unwrap(), fs::read(site.path("images.enc")).unwrap());
    let damaged = site.path("damaged.enc");
    let middle = sealed.len() / 2;
    let mut flipped = sealed.clone();
    flipped[middle] ^= 0x10;
    for (bytes, codes) in [(&sealed[..middle], ["truncated", "truncated"]), (&flipped[..], ["corrupt", "corrupt"])] {
        fs::write(&damaged, bytes).unwrap();
        let (finished, statuses) = unlock(&site, &[("IMAGES", damaged.to_str().unwrap())]);
        assert_eq!(statuses, [0, 0, 0, 65], "{}", finished.stderr);
        assert!(codes.contains(&code(&finished, "az-decrypt").as_str()));
        assert!(plain.starts_with(&finished.stdout) && finished.stdout.len() < plain.len());
        assert!(finished.stderr.contains(": segment ") || finished.stderr.contains("inside segment "));
    }
}

#[test]
fn a_model_comes_from_api_and_cdn_and_then_from_the_cache() {
    let site = Site::start();
    let fetch = || {
        let mut command = bash(
            r#"az-login -o "$SITE/token" && az-cdn-creds --token-file "$SITE/token" -o "$SITE/cdn" &&
            az-fetch --token-file "$SITE/token" --cdn-file "$SITE/cdn" --cache-dir "$SITE/cache" models/yolo.onnx |
            az-decrypt --key-file "$SITE/key""#,
        );
        site.configure(&mut command);
        run(command, b"")
    };
    let from_cdn = || site.server().requests().iter().filter(|request| request.path.ends_with("yolo.onnx.big")).count();
    for (steps, requests) in [(["small-part", "big-part"], 1), (["small-part", "cache-hit"], 1)] {
        let finished = fetch();
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.stdout == fs::read(site.path("model")).unwrap(), "other bytes");
        assert_eq!(stage(&finished, "az-fetch").steps(), steps);
        assert_eq!(from_cdn(), requests);
        check_no_secret(&site, &finished);
    }
}

/// Returns a command for `scripts/unlock` with `options`. Its lock and records are in the
/// directories `run` and `state` of the site.
fn unlock_command(site: &Site, options: &str) -> Command {
    let unlock = package_dir().join("../scripts/unlock");
    let mut command = bash(&format!("umask 022; exec {} {options}", unlock.display()));
    site.configure(&mut command);
    command.current_dir(site.root()).env("RUNTIME_DIRECTORY", site.path("run"));
    command.env("STATE_DIRECTORY", site.path("state"));
    command
}

const INTO_TAR: &str =
    "--archive images.enc --fragment device.frag --sink 'tar t' --status-file status.json --prometheus az.prom";

/// Unlocks the archive of the site into tar.
fn az_unlock(site: &Site, options: &str) -> Finished {
    run(unlock_command(site, &format!("{INTO_TAR} {options}")), b"")
}

#[test]
fn an_unlock_that_fails_early_replaces_the_last_state() {
    let site = Site::start();
    let good = az_unlock(&site, "");
    assert_eq!(good.status, 0, "{}", good.stderr);
    let asked = site.server().requests().len();
    fs::write(site.path("shut"), "").unwrap();
    fs::create_dir(site.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", site.path("planted")).unwrap();
    fs::create_dir(site.path("open")).unwrap();
    fs::set_permissions(site.path("open"), Permissions::from_mode(0o777)).unwrap();
    let blocked = site.path("run-2");
    for (options, status, says) in [
        ("--archive nothing.enc", 66, "FAILED in az-inspect (idle): nothing.enc: no such file."),
        ("--fragment nothing.frag", 66, "FAILED in az-join (idle): nothing.frag: no such file."),
        ("--sink no-such-sink", 78, "az-unlock: no-such-sink is not on the PATH"),
        ("--run-dir shut/run", 73, "az-unlock: shut/run: cannot be made"),
        ("--run-dir planted", 73, "az-unlock: planted: a symlink, or others can write there"),
        ("--run-dir planted/", 73, "az-unlock: planted/: a symlink, or others can write there"),
        ("--run-dir open", 73, "az-unlock: open: a symlink, or others can write there"),
        ("--run-dir open/run", 73, "az-unlock: open/run: a symlink, or others can write there"),
        ("", 73, "az-unlock: run: cannot be made"),
    ] {
        assert_eq!(az_unlock(&site, "").status, 0, "it is well again");
        if options.is_empty() {
            fs::rename(site.path("run"), &blocked).unwrap();
            fs::write(site.path("run"), "").unwrap();
        }
        let refused = az_unlock(&site, options);
        assert_eq!(refused.status, status, "{options}: {}", refused.stderr);
        let last = refused.stderr.lines().last().unwrap().replace(&format!("{}/", site.root().display()), "");
        assert!(last.ends_with(says), "{options}: {}", refused.stderr);
        let state: serde_json::Value = serde_json::from_slice(&fs::read(site.path("status.json")).unwrap()).unwrap();
        assert_eq!((&state["state"], &state["exit"]), (&"error".into(), &status.into()), "{options}: {state}");
        let metrics = fs::read_to_string(site.path("az.prom")).unwrap();
        assert!(metrics.contains(&format!("az_unlock_exit_code {status}\n")), "{options}: {metrics}");
    }
    assert_eq!(fs::read_dir(site.path("elsewhere")).unwrap().count(), 0, "a symlink was followed");
    // Only the successful unlocks send requests, three each.
    assert_eq!(site.server().requests().len(), asked * 10);
}

#[test]
fn a_second_unlock_does_not_change_the_state_of_the_first() {
    let site = Site::start();
    assert_eq!(az_unlock(&site, "").status, 0);
    fs::write(site.path("status.json"), "of the first").unwrap();
    let held = fs::File::open(site.path("run/unlock.lock")).unwrap();
    held.lock().unwrap();
    for options in ["", "--archive nothing.enc", "--sink no-such-sink"] {
        let second = az_unlock(&site, options);
        assert_eq!((second.status, second.stderr.as_str()), (75, "az-unlock: another unlock is running\n"));
    }
    assert_eq!(fs::read_to_string(site.path("status.json")).unwrap(), "of the first");
}

/// A user that can open the lock file can hold the lock.
#[test]
fn the_lock_is_closed_to_other_users() {
    let site = Site::start();
    let lock = site.path("run/unlock.lock");
    let mode = || fs::metadata(&lock).unwrap().permissions().mode() & 0o777;
    // With the mode set by systemd, for readers of the status file.
    fs::create_dir(site.path("run")).unwrap();
    fs::set_permissions(site.path("run"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!((az_unlock(&site, "").status, mode()), (0, 0o600));
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    assert_eq!((az_unlock(&site, "").status, mode()), (0, 0o600));
}

#[test]
fn a_name_that_begins_with_a_hyphen_is_a_file() {
    let site = Site::start();
    for (from, to) in [("images.enc", "-x.enc"), ("device.frag", "--help"), ("images.enc", "-")] {
        fs::copy(site.path(from), site.path(to)).unwrap();
    }
    for archive in ["-x.enc", "-"] {
        let options = format!("--archive {archive} --fragment --help --run-dir -r --status-file -s --sink 'tar t'");
        let finished = run(unlock_command(&site, &options), b"");
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.text().contains("manifest.json") && site.path("-r/az-decrypt.jsonl").is_file());
        assert!(site.path("-s").is_file());
    }
    let missing = run(unlock_command(&site, "--archive -y.enc --fragment device.frag --sink cat"), b"");
    assert_eq!(missing.status, 66, "{}", missing.stderr);
    assert!(missing.stderr.contains("./-y.enc: no such file"), "{}", missing.stderr);
}

#[test]
fn the_sink_is_not_evaluated_by_a_shell() {
    let site = Site::start();
    fs::create_dir(site.path("a dir")).unwrap();
    let files = "--archive images.enc --fragment device.frag";
    let split = run(unlock_command(&site, &format!("{files} --sink 'echo $HOME * ; touch made'")), b"");
    assert_eq!(split.text(), "$HOME * ; touch made\n", "{}", split.stderr);
    assert!(!site.path("made").exists());
    let words = run(unlock_command(&site, &format!("{files} -- tar -x -C 'a dir'")), b"");
    assert_eq!(words.status, 0, "{}", words.stderr);
    assert!(site.path("a dir/manifest.json").is_file());
    for options in ["--sink ''", "--sink ' '", "--"] {
        assert_eq!(run(unlock_command(&site, &format!("{files} {options}")), b"").status, 2, "{options}");
    }
}

#[test]
fn paths_can_come_from_the_config_file() {
    let site = Site::start();
    let config = |text: &str| {
        fs::create_dir_all(site.path("config/azaion")).unwrap();
        fs::write(site.path("config/azaion/config.yaml"), text).unwrap();
    };
    let with = |options: &str, variables: &[(&str, &str)]| {
        let mut command = unlock_command(&site, options);
        command.env("XDG_CONFIG_HOME", site.path("config")).envs(variables.iter().copied());
        run(command, b"")
    };
    config("archive: images.enc\nfragment_file: device.frag\n");
    let finished = with("--sink 'tar t'", &[]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    // Precedence: command line, environment, file.
    for (options, variables) in [("--archive no.enc", ("A", "")), ("", ("AZ_ARCHIVE", "no.enc"))] {
        let finished = with(&format!("--sink 'tar t' {options}"), &[variables]);
        assert_eq!(finished.status, 66, "{}", finished.stderr);
        assert!(finished.stderr.contains("no.enc: no such file"), "{}", finished.stderr);
    }
    config("archiv: images.enc\n");
    let finished = with("--sink 'tar t'", &[]);
    assert_eq!(finished.status, 78, "{}", finished.stderr);
    assert!(finished.stderr.contains("unknown key archiv"), "{}", finished.stderr);
}

/// Two users have separate private locks, but share the archive.
#[test]
fn the_wait_for_an_unlock_of_another_user_is_limited() {
    use std::io::{BufRead, BufReader, Read};
    let site = Site::start();
    let held = fs::File::open(site.path("images.enc")).unwrap();
    held.lock().unwrap();
    let gone_on = az_unlock(&site, "--wait 0");
    assert_eq!(gone_on.status, 0, "{}", gone_on.stderr);
    assert!(gone_on.stderr.contains("images.enc is still locked; not waiting any longer"), "{}", gone_on.stderr);

    let asked = site.server().requests().len();
    let mut child = unlock_command(&site, &format!("{INTO_TAR} --wait 600")).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let by = format!("az-unlock: images.enc is locked by process {} (", std::process::id());
    assert!(line.starts_with(&by) && line.ends_with("); waiting up to 600 s\n"), "{line}");
    assert_eq!(site.server().requests().len(), asked, "it did not wait");
    held.unlock().unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && !rest.contains("still locked"), "{rest}");

    // The first unlock holds the lock while a stage runs. Its sink does not inherit the lock.
    let (locks, told) = (site.path("locks"), site.path("told"));
    let script =
        format!("cat >/dev/null; ls -l /proc/self/fd > {}; cat /proc/locks > {}", told.display(), locks.display());
    let sink = site.path("sink.sh");
    fs::write(&sink, script).unwrap();
    let files = "--archive images.enc --fragment device.frag";
    assert_eq!(run(unlock_command(&site, &format!("{files} --sink 'sh sink.sh'")), b"").status, 0);
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(site.path("images.enc")).unwrap());
    assert!(fs::read_to_string(&locks).unwrap().contains(&format!(":{inode} ")), "the archive is not locked");
    let told = fs::read_to_string(&told).unwrap();
    assert!(!told.contains("images.enc") && !told.contains("unlock.lock"), "{told}");
}

#[test]
fn an_unlock_waits_for_that_of_another_user() {
    use std::io::{BufRead, BufReader, Read};
    let unlock = package_dir().join("../scripts/unlock");
    let other_user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let can_run = format!("{other_user} az-login --version && {other_user} test -x {}", unlock.display());
    if run(bash(&can_run), b"").status != 0 {
        say("skipped: only root can unlock as another user, who must be able to run the filters");
        return;
    }
    let site = Site::start();
    let copies = "chmod 711 . && chmod 644 images.enc && mkdir other && cp device.frag credentials.json hwid other && \
                  chown -R 65534:65534 other";
    let mut prepare = bash(copies);
    prepare.current_dir(site.root());
    assert_eq!(run(prepare, b"").status, 0);

    let sink = "sh -c 'cat > /dev/null; touch started; until [ -e go ]; do sleep 0.05; done'";
    let files = "--archive images.enc --fragment device.frag";
    let mut first = unlock_command(&site, &format!("{files} -- {sink}")).spawn().unwrap();
    wait_until("the first unlock is in its last stage", || site.path("started").exists());
    let again = az_unlock(&site, "");
    let running = format!("az-unlock: another unlock is running: process {}\n", first.id());
    assert_eq!((again.status, again.stderr), (75, running));

    let options = "--archive ../images.enc --fragment device.frag --wait 600 -- tar t";
    let mut second = bash(&format!("exec {other_user} {} {options}", unlock.display()));
    site.configure(&mut second);
    let other = site.path("other");
    second.current_dir(&other).env("HOME", &other).env("RUNTIME_DIRECTORY", other.join("run"));
    second.env("STATE_DIRECTORY", other.join("state"));
    second.env("AZ_CREDENTIALS_FILE", "credentials.json").env("AZ_HWID_FILE", "hwid");
    let mut second = second.spawn().unwrap();
    let mut stderr = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("images.enc is locked by another user's unlock; waiting up to 600 s"), "{line}");
    fs::write(site.path("go"), "").unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(second.wait().unwrap().success() && !rest.contains("still locked"), "{rest}");
    assert!(first.wait().unwrap().success());
}

/// Unlocks the archive into the engine. Also returns the number of requests to the server.
fn into_az_load(site: &Site, options: &str) -> (Finished, usize) {
    let before = site.server().requests().len();
    let options = format!("--archive images.enc --fragment device.frag --status-file status.json {options}");
    let mut command = unlock_command(site, &options);
    for name in ["DOCKER_HOST", "XDG_RUNTIME_DIR"] {
        std::env::var_os(name).map(|value| command.env(name, value));
    }
    let finished = run(command, b"");
    (finished, site.server().requests().len() - before)
}

#[test]
fn only_an_archive_verified_on_this_device_is_skipped() {
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let site = Site::start();
    let loaded = LoadedImages(&site);
    let archive = site.path("images.enc");
    let sealed = fs::read(&archive).unwrap();
    // Returns true if the unlock succeeded without a request to the server.
    let is_skipped = |options: &str| {
        let (finished, requests) = into_az_load(&site, options);
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert_eq!(requests == 0, finished.text().contains("is there already"), "{}", finished.text());
        assert!(requests == 0 || finished.text().starts_with(r#"{"images":[{"id":""#), "{}", finished.text());
        requests == 0
    };
    let present = || into_az_load(&site, "--present").0.status;
    assert_eq!(present(), 66);
    assert!(!site.path("state").exists(), "--present changes nothing");
    assert!(!is_skipped(""));
    assert_eq!((loaded.tags(), present()), (site.tags().to_vec(), 0));
    assert!(is_skipped("") && !is_skipped("--force"));
    let record = fs::read_dir(site.path("state")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(site.path("state")).unwrap().count(), 1);
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);

    // An archive that was accepted under another policy is not skipped.
    let publisher = "umask 077; openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out publisher.pem";
    let mut command = bash(publisher);
    command.current_dir(site.root());
    assert_eq!(run(command, b"").status, 0);
    let (finished, _) = into_az_load(&site, "--publisher-key-file publisher.pem");
    assert_eq!(finished.status, 65, "{}", finished.stderr);
    assert!(is_skipped(""));

    // Every change of the archive is detected: in its header, in its body with unchanged
    // times, and a truncation.
    let times = fs::metadata(&archive).unwrap().modified().unwrap();
    let (mut header, mut body) = (sealed.clone(), sealed.clone());
    let list = sealed.windows(4).position(|bytes| bytes == b"tags").unwrap();
    header[list] ^= 1;
    body[sealed.len() - 30] ^= 1;
    for (bytes, what) in [(&header[..], "header"), (&body, "body"), (&sealed[..sealed.len() - 30], "cut")] {
        fs::write(&archive, bytes).unwrap();
        fs::File::options().write(true).open(&archive).unwrap().set_modified(times).unwrap();
        assert_eq!(present(), 66, "{what}");
        let (finished, requests) = into_az_load(&site, "");
        assert_eq!((finished.status, requests > 0), (65, true), "{what}: {}", finished.stderr);
    }
    fs::write(&archive, &sealed).unwrap();
    assert!(!is_skipped("") && is_skipped(""), "another file of the same content is unlocked once");

    // The record is also ignored if an image is missing or if other users could have written it.
    Command::new("docker").args(["image", "rm", &site.tags()[0]]).output().unwrap();
    assert!(!is_skipped("") && is_skipped(""));
    fs::set_permissions(site.path("state"), Permissions::from_mode(0o777)).unwrap();
    let (finished, requests) = into_az_load(&site, "");
    assert!(finished.status == 0 && requests > 0, "{}", finished.stderr);
    assert!(finished.stderr.contains("the next unlock loads the archive again"), "{}", finished.stderr);
    fs::set_permissions(site.path("state"), Permissions::from_mode(0o700)).unwrap();
    assert!(is_skipped(""));
    let text = fs::read_to_string(&record).unwrap();
    for damaged in [&text[..text.len() / 2], "", &text.replace("az-unlock 1", "az-unlock 2")] {
        fs::write(&record, damaged).unwrap();
        assert!(!is_skipped("") && is_skipped(""), "{damaged}");
    }
    // An archive that changes during its unlock is not recorded.
    fs::remove_file(&record).unwrap();
    let hook = format!(
        "#!/bin/bash\n/usr/bin/touch {}\nexec {} \"$@\"\n",
        archive.display(),
        tests::binary("az-load").display()
    );
    tests::write_program(&site.path("bin/az-load"), hook);
    let mut command = unlock_command(&site, "--archive images.enc --fragment device.frag");
    command.env("PATH", format!("{}:{}", site.path("bin").display(), tests::path_variable()));
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(finished.stderr.contains("was changed meanwhile"), "{}", finished.stderr);
    assert!(!record.exists());
}

/// Returns the names and ids of all images in the engine.
fn engine_images() -> BTreeSet<String> {
    let output =
        Command::new("docker").args(["image", "ls", "-a", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().filter(|line| line.starts_with("az-tests/")).map(str::to_owned).collect()
}

/// Images of `site` in the engine, removed on drop.
struct LoadedImages<'a>(&'a Site);

impl LoadedImages<'_> {
    fn tags(&self) -> Vec<String> {
        let images = engine_images();
        let has = |tag: &&String| images.iter().any(|image| image.starts_with(&format!("{tag} ")));
        self.0.tags().iter().filter(has).cloned().collect()
    }
}

impl Drop for LoadedImages<'_> {
    fn drop(&mut self) {
        for tag in self.tags() {
            let _ = Command::new("docker").args(["image", "rm", "--force", &tag]).output();
        }
    }
}

/// Runs the pipeline into the engine with the archive at `images`.
fn into_engine(site: &Site, images: &Path) -> Finished {
    let mut command = bash(&format!("{LINE} | docker load"));
    site.configure(&mut command);
    command.env("IMAGES", images).env("AZ_EVENTS", "off");
    for name in ["DOCKER_HOST", "XDG_RUNTIME_DIR"] {
        std::env::var_os(name).map(|value| command.env(name, value));
    }
    run(command, b"")
}

#[test]
fn the_engine_gets_the_images_but_nothing_of_a_damaged_archive() {
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let site = Site::start();
    let loaded = LoadedImages(&site);
    let sealed = fs::read(site.path("images.enc")).unwrap();
    let damaged = site.path("damaged.enc");
    let mut random = Random(8);
    // Damaged offsets: header, first segment, last segment, and some random ones.
    let mut places = vec![0, 40, 150, 250, sealed.len() - 1, sealed.len() - 20];
    places.extend((0..4).map(|_| random.below(sealed.len())));
    for at in places {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        for (bytes, what) in [(&flipped[..], "a flipped byte"), (&sealed[..at], "a cut")] {
            fs::write(&damaged, bytes).unwrap();
            let finished = into_engine(&site, &damaged);
            assert_ne!(finished.status, 0, "{what} at {at}");
            assert_eq!(loaded.tags(), [] as [&str; 0], "{what} at {at} of {}", sealed.len());
        }
    }
    let finished = into_engine(&site, &site.path("images.enc"));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(loaded.tags(), site.tags());
}
