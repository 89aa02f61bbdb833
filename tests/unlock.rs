//! The whole line, from credentials to the archive or to images in the engine,
//! as processes in pipes against a server on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::events::{self, Events};
use tests::site::{PASSWORD, Site, has_engine};
use tests::{Finished, Random, bash, run, say};

const LINE: &str =
    r#"az-login | az-fetch key-fragment | az-join - "$DEVICE_FRAGMENT" | az-decrypt --key-file - "$IMAGES""#;

/// Runs `LINE` with `settings` in place of the site's; the exit status of each
/// stage is written to the file `statuses`.
fn unlock(site: &Site, settings: &[(&str, &str)]) -> (Finished, Vec<i32>) {
    let mut command = bash(&format!("{LINE}; echo \"${{PIPESTATUS[@]}}\" > \"$STATUSES\""));
    let statuses = tempfile::NamedTempFile::new().unwrap();
    site.configure(&mut command);
    command.env("STATUSES", statuses.path()).envs(settings.iter().copied());
    let finished = run(command, b"");
    let statuses = fs::read_to_string(statuses.path()).unwrap();
    (finished, statuses.split_whitespace().map(|status| status.parse().unwrap()).collect())
}

/// The lines of the stage, which must be one run.
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
        let secret = fs::read_to_string(site.file(name)).unwrap();
        assert!(!finished.stderr.contains(secret.trim()), "tells {name}: {}", finished.stderr);
    }
    for secret in [PASSWORD, "eyJ", "AZ-FRAG-1Q", "AZ-SECRET-KEY-1Q"] {
        assert!(!finished.stderr.contains(secret), "tells {secret}: {}", finished.stderr);
    }
}

#[test]
fn the_line_ends_in_the_archive() {
    let site = Site::start();
    let (finished, statuses) = unlock(&site, &[]);
    assert_eq!(statuses, [0; 4], "{}", finished.stderr);
    assert!(finished.stdout == fs::read(site.file("images.tar")).unwrap(), "other bytes");
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
    assert!(finished.stdout == fs::read(site.file("images.tar")).unwrap(), "other bytes");
    let other = site.file("other.hwid");
    let (finished, statuses) = unlock(&site, &[("AZ_HWID_FILE", other.to_str().unwrap())]);
    assert_eq!(statuses, [0, 79, 65, 65], "{}", finished.stderr);
    check_no_secret(&site, &finished);
}

#[test]
fn a_wrong_password_is_the_cause_and_nothing_is_fetched() {
    let site = Site::start();
    let wrong = site.file("wrong.json");
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
fn a_foreign_fragment_is_named_by_its_set() {
    let site = Site::start();
    let foreign = site.file("foreign.frag");
    let (finished, statuses) = unlock(&site, &[("DEVICE_FRAGMENT", foreign.to_str().unwrap())]);
    assert_eq!(statuses, [0, 0, 79, 65], "{}", finished.stderr);
    assert_eq!(code(&finished, "az-join"), "wrong_fragment");
    assert!(finished.stderr.contains("of another set"), "{}", finished.stderr);
    assert!(finished.stdout.is_empty());
    check_no_secret(&site, &finished);
}

#[test]
fn a_damaged_archive_releases_only_its_beginning() {
    let site = Site::start();
    let (plain, sealed) = (fs::read(site.file("images.tar")).unwrap(), fs::read(site.file("images.enc")).unwrap());
    let damaged = site.file("damaged.enc");
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
            r#"az-login > "$SITE/token" && az-cdn-creds < "$SITE/token" > "$SITE/cdn" &&
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
        assert!(finished.stdout == fs::read(site.file("model")).unwrap(), "other bytes");
        assert_eq!(stage(&finished, "az-fetch").steps(), steps);
        assert_eq!(from_cdn(), requests);
        check_no_secret(&site, &finished);
    }
}

/// The names and ids of all images of the engine.
fn engine_images() -> BTreeSet<String> {
    let output =
        Command::new("docker").args(["image", "ls", "-a", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().filter(|line| line.starts_with("az-tests/")).map(str::to_owned).collect()
}

/// The tags of `site` that the engine has; removed when dropped.
struct Loaded<'a>(&'a Site);

impl Loaded<'_> {
    fn tags(&self) -> Vec<String> {
        let images = engine_images();
        let has = |tag: &&String| images.iter().any(|image| image.starts_with(&format!("{tag} ")));
        self.0.tags().iter().filter(has).cloned().collect()
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        for tag in self.tags() {
            let _ = Command::new("docker").args(["image", "rm", "--force", &tag]).output();
        }
    }
}

/// The line with the engine at its end, for the archive at `images`.
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
fn the_engine_has_the_images_and_nothing_of_a_damaged_archive() {
    if !has_engine() {
        say("skipped: no container engine");
        return;
    }
    let site = Site::start();
    let loaded = Loaded(&site);
    let sealed = fs::read(site.file("images.enc")).unwrap();
    let damaged = site.file("damaged.enc");
    let mut random = Random(8);
    // The places that differ: header, first segment, last segment, and some by chance.
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
    let finished = into_engine(&site, &site.file("images.enc"));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(loaded.tags(), site.tags());
}
