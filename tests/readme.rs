//! Every line of the README, pasted into the shell of `scripts/demo --shell`; and
//! where the pages of the tree point to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::site::has_engine;
use tests::{bash, binary, folder, run, say};

/// Stands before a block that is not for that shell.
const ELSEWHERE: &str = "not in the demo's shell -->";

/// Number and text of each command in the `sh` blocks of `markdown`; lines that end
/// in a backslash go on in the next.
fn commands(markdown: &str) -> Vec<(usize, String)> {
    let mut commands: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut before) = (false, "");
    for (i, line) in markdown.lines().enumerate() {
        if !inside {
            inside = line == "```sh" && !before.ends_with(ELSEWHERE);
        } else if line == "```" {
            inside = false;
        } else {
            match commands.last_mut().filter(|(_, text)| text.ends_with('\\')) {
                Some((_, text)) => write!(text, "\n{line}").unwrap(),
                None => commands.push((i + 1, line.to_owned())),
            }
        }
        before = line;
    }
    commands
}

/// What a line may end with beside 0.
fn excused(command: &str, status: &str) -> bool {
    // A machine may have no serial number of its own; then az-hwid says so.
    command.starts_with("az-hwid") && status == "78"
}

#[test]
fn every_line_runs_as_it_is_pasted() {
    if !has_engine() {
        say("skipped: no container engine, and lines of the README load into one");
        return;
    }
    let readme = fs::read_to_string(folder().join("../README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() > 20, "only {} lines were found", commands.len());
    let dir = TempDir::new().unwrap();
    let (script, results) = (dir.path().join("lines"), dir.path().join("results"));
    let mut lines = String::new();
    for (number, command) in &commands {
        writeln!(lines, "{command}\necho {number} $? >> '{}'", results.display()).unwrap();
    }
    fs::write(&script, lines).unwrap();

    let binaries = binary("az-login").parent().unwrap().to_owned();
    let mut demo = bash(r#"exec "$0" --shell --bin "$1""#);
    demo.arg(folder().join("../scripts/demo")).arg(binaries).env_remove("SOURCE_DATE_EPOCH").env_remove("AZ_RUN");
    let finished = run(demo, format!("bash '{}' < /dev/null\n", script.display()).as_bytes());
    assert_eq!(finished.status, 0, "{}", finished.stderr);

    let results = fs::read_to_string(results).unwrap();
    let results: Vec<_> = results.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(results.len(), commands.len(), "a line ended the shell: {}", finished.stderr);
    let failed: Vec<_> = (commands.iter().zip(&results))
        .filter(|((_, command), (_, status))| *status != "0" && !excused(command, status))
        .map(|((number, command), (_, status))| format!("README.md:{number} ended with {status}: {command}"))
        .collect();
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), finished.stderr);
}

/// The pages of the tree.
fn pages() -> Vec<PathBuf> {
    let root = folder().parent().unwrap().to_owned();
    let mut pages: Vec<_> = ["README.md", "crates/README.md", "examples/README.md"].map(|page| root.join(page)).into();
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("README.md"));
    pages.extend(crates.filter(|page| page.is_file()));
    pages
}

/// What the links and pictures of a page name.
fn targets(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of a page's headings: lower case, words joined by hyphens.
fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in targets(&text).filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !file.exists() || !anchor.is_empty() && !anchors(&file).iter().any(|known| known == anchor) {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn pictures_are_small_and_have_text_as_text() {
    let pictures = fs::read_dir(folder().join("../examples/pictures")).unwrap();
    for picture in pictures.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&picture).unwrap();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{}", picture.display());
        assert!(text.len() < 60_000 && text.contains("az-decrypt"), "{}: {} bytes", picture.display(), text.len());
    }
}
