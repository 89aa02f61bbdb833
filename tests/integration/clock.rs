//! A device without a real-time clock, which boots in 1970: a stage that needs the time
//! reports that in one line, and the other stages work.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use tests::site::Site;
use tests::{Finished, bash, run, say, set_mode};

/// Token signed with HS256 and [`SECRET`], valid from 2023 to 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuYW1laWQiOiIwYjdhM2Y5ZS01MmM2LTRmMGUtOWE1Ny0yZjhmNGMxZDZlMzUiLCJ1bmlxdWVfbmFtZSI6Im9wZXJhdG9yQGV4YW1wbGUuY29tIiwicm9sZSI6Ik9wZXJhdG9yIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDB9.rn1myMr0taciKOgOuyqEov1NUqMYfxmFIREQd0wFIFc";
const SECRET: &str = "a secret of the tests, 32 bytes.";

/// Returns true if faketime, which these tests require, is installed.
fn has_faketime() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let has = Command::new("faketime").args(["@5", "true"]).status().is_ok_and(|status| status.success());
        if !has {
            say("skipped: faketime is required to set the clock");
        }
        has
    })
}

/// Runs a shell line in the site's directory with the clock set to `time`. Standard error
/// is that of the stage.
fn at(site: &Site, time: &str, line: &str) -> Finished {
    let mut command = bash(&format!("faketime '{time}' {line}"));
    site.configure(&mut command);
    command.current_dir(site.root()).env("TZ", "UTC").env_remove("SOURCE_DATE_EPOCH");
    run(command, b"")
}

/// Asserts that the stage ends with `status`, and with one error line that contains `code`
/// and `words`.
#[track_caller]
fn refused(finished: &Finished, status: i32, code: &str, words: &[&str]) {
    assert_eq!((finished.status, finished.stdout.len()), (status, 0), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("\"error\":{").count(), 1);
    let last = finished.stderr.lines().last().unwrap();
    for word in words.iter().chain([&format!("\"code\":\"{code}\"")[..]].iter()) {
        assert!(last.contains(word), "no {word:?} in {last}");
    }
}

const BOOT: &str = "1970-01-01 00:00:05";
const NOW: &str = "2026-06-01 12:00:00";

#[test]
fn a_token_is_not_verified_with_an_unset_clock() {
    if !has_faketime() {
        return;
    }
    let site = Site::start();
    for (name, text) in [("verified.jwt", TOKEN), ("secret", SECRET)] {
        fs::write(site.path(name), format!("{text}\n")).unwrap();
        set_mode(&site.path(name), 0o600);
    }
    let whoami = "az-whoami --token-file verified.jwt --jwt-key-file secret";
    assert!(at(&site, NOW, whoami).text().contains("\"verified\":true"));
    let words = ["the clock of this machine says 1970-01-01T00:00:0", "set the clock first"];
    refused(&at(&site, BOOT, whoami), 78, "clock", &words);
    refused(&at(&site, "2101-01-01 00:00:00", whoami), 77, "not_permitted", &["expired at 2100-01-01", "clock"]);
    refused(&at(&site, "2023-01-01 00:00:00", whoami), 78, "clock", &["the clock of this machine says 2023-01-01"]);
    // Without a key the token is not verified.
    assert_eq!(at(&site, BOOT, "az-whoami --token-file verified.jwt").status, 0);
}

#[test]
fn a_refused_token_is_renewed_once_or_reported() {
    let site = Site::start();
    let fetch = "az-fetch --token-file expired.jwt key-fragment";
    let without = format!("env -u AZ_CREDENTIALS_FILE {fetch}");
    let today = |line: &str| {
        let mut command = bash(line);
        site.configure(&mut command);
        command.current_dir(site.root());
        run(command, b"")
    };
    assert_eq!(today(fetch).status, 0);
    let paths: Vec<_> = site.server().requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/binary-split/key-fragment", "/login", "/binary-split/key-fragment"]);
    let words = ["HTTP 401, token expired at 20", "log in again, or use --credentials-file"];
    refused(&today(&without), 77, "not_permitted", &words);
    if !has_faketime() {
        return;
    }
    assert_eq!(at(&site, BOOT, fetch).status, 0);
    let words =
        ["HTTP 401, the clock of this machine says 1970-01-01", "is unknown", "set the clock, then log in again"];
    refused(&at(&site, BOOT, &without), 78, "clock", &words);
}

#[test]
fn the_store_refuses_a_signature_with_a_wrong_time() {
    if !has_faketime() {
        return;
    }
    let site = Site::start();
    let fetch = "az-fetch --token-file jwt --cdn-file cdn.json models/yolo.onnx";
    for time in [BOOT, "2099-01-01 00:00:00"] {
        refused(&at(&site, time, fetch), 78, "clock", &["clock of this machine", "set the clock, then try again"]);
    }
}
