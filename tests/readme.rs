//! Every line of the README, pasted into the shell of `scripts/demo --shell`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::fs;
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
