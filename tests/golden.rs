//! Golden files: one command each, with its complete output.
//!
//! `TRYCMD=overwrite cargo test -p tests --test golden` rewrites them. trycmd replaces
//! each backslash in an output by a slash before the comparison, so `\"` in an event would
//! become `/"`. Therefore the files contain `[Q]` instead. `[..]` replaces a number that
//! may differ between runs.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::events::{self, Events};
use tests::site::Site;
use tests::{binary, package_dir, path_variable, profile};
use toml_edit::{DocumentMut, Item};
use trycmd::TestCases;

/// Runs the golden files in the directory `name`. They can use `bash` and the filter.
fn golden(name: &str, site: Option<&Site>) {
    for case in cases(name) {
        let bin = case.text("bin.name");
        assert!(bin == name || bin == "bash", "{}: bin.name is {bin}", case.path.display());
    }
    let home = TempDir::new().unwrap();
    let cases = TestCases::new();
    cases
        .register_bin(name, binary(name).as_path())
        .register_bin("bash", Path::new("/bin/bash"))
        .env("PATH", path_variable())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("AZ_RUN", "golden")
        .env("HOME", home.path().to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.path().to_str().unwrap())
        .env("LC_ALL", "C")
        .insert_var("[Q]", "\\\"")
        .unwrap();
    if let Some((name, value)) = profile() {
        cases.env(name, value.to_str().unwrap());
    }
    site.into_iter().for_each(|site| at_site(&cases, site));
    cases.case(format!("golden/{name}/*.toml")).run();
}

/// Provides a server and the files of a device as `AZ_API_URL`, `S3` and `SITE`. In the
/// expected output `[API]` and `[CDN]` are host and port of the servers, and `[SITE]` is
/// the directory.
fn at_site(cases: &TestCases, site: &Site) {
    let root = site.root().to_str().unwrap().to_owned();
    let (api, cdn) = (site.server().api_url().to_owned(), site.server().s3_url().to_owned());
    cases.env("AZ_API_URL", &api).env("S3", &cdn).env("SITE", &root);
    let host = |url: String| url.trim_start_matches("http://").to_owned();
    for (var, value) in [("[SITE]", root), ("[API]", host(api)), ("[CDN]", host(cdn))] {
        cases.insert_var(var, value).unwrap();
    }
}

#[test]
fn az_decrypt() {
    golden("az-decrypt", None);
}

#[test]
fn az_encrypt() {
    golden("az-encrypt", None);
}

#[test]
fn az_inspect() {
    golden("az-inspect", None);
}

#[test]
fn az_join() {
    golden("az-join", None);
}

#[test]
fn az_split() {
    golden("az-split", None);
}

#[test]
fn az_doctor() {
    golden("az-doctor", Some(&Site::start()));
}

#[test]
fn az_hwid() {
    golden("az-hwid", None);
}

#[test]
fn az_rekey() {
    golden("az-rekey", None);
}

#[test]
fn az_diff() {
    golden("az-diff", None);
}

#[test]
fn az_patch() {
    golden("az-patch", None);
}

#[test]
fn az_load() {
    golden("az-load", None);
}

#[test]
fn az_status() {
    golden("az-status", None);
}

#[test]
fn az_server() {
    golden("az-server", None);
}

#[test]
fn az_login() {
    golden("az-login", Some(&Site::start()));
}

#[test]
fn az_whoami() {
    golden("az-whoami", Some(&Site::start()));
}

#[test]
fn az_cdn_creds() {
    golden("az-cdn-creds", Some(&Site::start()));
}

#[test]
fn az_fetch() {
    golden("az-fetch", Some(&Site::start()));
}

/// A golden file.
struct Case {
    path: PathBuf,
    document: DocumentMut,
}

impl Case {
    fn item(&self, key: &str) -> Option<&Item> {
        key.split('.').try_fold(self.document.as_item(), |item, part| item.get(part))
    }

    fn text(&self, key: &str) -> String {
        let text = self.item(key).and_then(Item::as_str);
        text.unwrap_or_else(|| panic!("{}: states no {key}", self.path.display())).to_owned()
    }

    fn command(&self) -> String {
        self.item("args").map(ToString::to_string).unwrap_or_default()
    }

    /// Checks each line of standard error: each stage must have one final line and, if
    /// `whole` is set, its first line. The final state of `filter` must match the exit
    /// status. Returns the number of stages.
    fn check(&self, filter: &str, whole: bool) -> usize {
        let place = self.path.display();
        let mut text = self.text("stderr").replace("[Q]", "\\\"").replace(":[..]", ":0");
        let watches = filter == "az-status";
        if watches {
            // az-status is not a stage, and forwards lines that are not events.
            text = text.split_inclusive('\n').filter(|line| line.starts_with('{')).collect();
        }
        assert!(!text.contains("AZ-SECRET-KEY-1Q") && !text.contains("AZ-FRAG-1Q"), "{place}: tells a secret");
        let lines = std::panic::catch_unwind(|| events::parse(&text).0);
        let lines = lines.unwrap_or_else(|_| panic!("{place}: a line breaks the contract"));
        let mut stages: Vec<_> = lines.iter().map(|line| line["stage"].as_str().unwrap_or_default()).collect();
        stages.sort_unstable();
        stages.dedup();
        for stage in &stages {
            let of_stage = Events(lines.iter().filter(|line| line["stage"] == **stage).cloned().collect());
            let checked = std::panic::catch_unwind(|| {
                if whole && !watches {
                    events::check_run(&of_stage)
                }
            });
            assert!(checked.is_ok(), "{place}: the lines of {stage} are not one run");
            if stage == &filter {
                let exit = of_stage.0.last().and_then(|line| line["error"]["exit"].as_i64()).unwrap_or(0);
                let stated = self.item("status.code").and_then(Item::as_integer).unwrap_or(0);
                assert_eq!(exit, stated, "{place}: the final line and the exit status differ");
            }
        }
        stages.len()
    }
}

fn cases(filter: &str) -> Vec<Case> {
    let dir = package_dir().join("golden").join(filter);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let document = std::fs::read_to_string(&path).unwrap().parse();
        Case { document: document.unwrap_or_else(|error| panic!("{}: {error}", path.display())), path }
    };
    paths.into_iter().map(read).collect()
}

/// Returns the directories of golden files. Each has a test above.
fn filters() -> Vec<String> {
    let entries = std::fs::read_dir(package_dir().join("golden")).unwrap();
    let filters: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let source = std::fs::read_to_string(package_dir().join("golden.rs")).unwrap();
    for filter in &filters {
        assert!(source.contains(&format!("fn {}() {{", filter.replace('-', "_"))), "no test runs golden/{filter}");
    }
    filters
}

#[test]
fn every_golden_file_is_complete() {
    for case in filters().iter().flat_map(|filter| cases(filter)) {
        let place = case.path.display();
        for key in ["bin.name", "stdout", "stderr"] {
            case.text(key);
        }
        assert!(case.item("status").is_some(), "{place}: states no status");
        let inherits = case.item("env.inherit").and_then(Item::as_bool);
        assert_eq!(inherits, Some(false), "{place}: must have env.inherit = false");
        assert!(case.document.to_string().starts_with("# "), "{place}: does not begin with what it shows");
    }
}

#[test]
fn every_event_line_is_valid() {
    let mut runs = 0;
    for filter in filters() {
        for case in cases(&filter) {
            let style = ["human", "off"].iter().find(|style| case.command().contains(&format!("AZ_EVENTS={style}")));
            if style != Some(&"human") {
                runs += case.check(&filter, style.is_none());
            }
        }
    }
    assert!(runs > 200, "only {runs} runs were checked");
}
