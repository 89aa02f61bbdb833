//! The pages of the tree: each command is pasted into the shell of `scripts/demo --shell`,
//! and each link leads to a file and a heading.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::site::has_engine;
use tests::{bash, binary, package_dir, run, say};

/// Ends the line before a block that is not for that shell.
const ELSEWHERE: &str = "not in the demo's shell -->";

/// Returns line number and text of each command in the `sh` blocks of `markdown`. A command
/// continues after a line that ends in a backslash, `|` or `&&`.
fn commands(markdown: &str) -> Vec<(usize, String)> {
    let mut commands: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut before) = (false, "");
    for (i, line) in markdown.lines().enumerate() {
        if !inside {
            inside = line == "```sh" && !before.ends_with(ELSEWHERE);
        } else if line == "```" {
            inside = false;
        } else {
            match commands.last_mut().filter(|(_, text)| is_unfinished(text)) {
                Some((_, text)) => write!(text, "\n{line}").unwrap(),
                None => commands.push((i + 1, line.to_owned())),
            }
        }
        before = line;
    }
    commands
}

/// Returns true if `command` continues in the next line.
fn is_unfinished(command: &str) -> bool {
    ["\\", "|", "&&"].iter().any(|end| command.trim_end().ends_with(end))
}

/// Returns true for a failure that depends on the machine.
fn excused(command: &str, status: &str) -> bool {
    // A machine may have no serial number of its own.
    command.starts_with("az-hwid") && status == "78"
}

/// Returns the failures of the commands of `page`, each pasted into one demo shell, which
/// starts for this page alone: a reader opens a page and pastes from its top.
fn failures(page: &Path) -> Vec<String> {
    let name = page.strip_prefix(root()).unwrap().display();
    let commands = commands(&fs::read_to_string(page).unwrap());
    if commands.is_empty() {
        return Vec::new();
    }
    let dir = TempDir::new().unwrap();
    let (script, results) = (dir.path().join("lines"), dir.path().join("results"));
    let mut lines = String::new();
    for (number, command) in &commands {
        writeln!(lines, "{command}\necho {number} $? >> '{}'", results.display()).unwrap();
    }
    fs::write(&script, lines).unwrap();

    let binaries = binary("az-login").parent().unwrap().to_owned();
    let mut demo = bash(r#"exec "$0" --shell --bin "$1""#);
    demo.arg(root().join("scripts/demo")).arg(binaries).env_remove("SOURCE_DATE_EPOCH").env_remove("AZ_RUN");
    let finished = run(demo, format!("bash '{}' < /dev/null\n", script.display()).as_bytes());
    if finished.status != 0 {
        return vec![format!("{name}: the demo ended with {}: {}", finished.status, finished.stderr)];
    }

    let results = fs::read_to_string(results).unwrap();
    let results: Vec<_> = results.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut failures: Vec<_> = (commands.iter().zip(&results))
        .filter(|((_, command), (_, status))| *status != "0" && !excused(command, status))
        .map(|((number, command), (_, status))| format!("{name}:{number} ended with {status}: {command}"))
        .collect();
    if results.len() != commands.len() {
        failures.push(format!("{name}: a command ended the shell"));
    }
    if !failures.is_empty() {
        failures.push(finished.stderr);
    }
    failures
}

#[test]
fn every_command_runs_as_it_is_pasted() {
    if !has_engine() {
        say("skipped: no container engine, and commands of the pages load into one");
        return;
    }
    // Commands of the examples change the machine, and have tests of their own.
    let (readme, crates) = (root().join("README.md"), root().join("crates"));
    let pages = pages().into_iter().filter(|page| *page == readme || page.starts_with(&crates));
    let failures: Vec<_> = pages.flat_map(|page| failures(&page)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_filter_has_a_page_with_commands() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let filters: Vec<_> = crates.filter(|dir| dir.file_name().unwrap().to_str().unwrap().starts_with("az-")).collect();
    assert_eq!(filters.len(), 18);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for dir in filters {
        let name = dir.file_name().unwrap().to_str().unwrap();
        let page = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        assert!(commands(&page).iter().any(|(_, command)| command.contains(name)), "{name}: no command to paste");
        assert!(readme.contains(&format!("(crates/{name}/README.md)")), "{name} is not in README.md");
    }
}

/// Returns the root directory of the repository.
fn root() -> PathBuf {
    package_dir().parent().unwrap().to_owned()
}

/// Returns every page of the tree.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages: Vec<_> = ["README.md", "CHANGELOG.md"].map(|page| root.join(page)).into();
    let mut directories: Vec<_> = [".github", "crates", "examples", "tests"].map(|name| root.join(name)).into();
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.is_symlink() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 25, "only {} pages were found", pages.len());
    pages
}

/// Returns the targets of the links and pictures of a page.
fn targets(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// Returns the anchors of a page's headings: lower case, words joined by hyphens.
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
    let pictures = fs::read_dir(package_dir().join("../examples/pictures")).unwrap();
    for picture in pictures.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&picture).unwrap();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{}", picture.display());
        assert!(text.len() < 60_000 && text.contains("az-decrypt"), "{}: {} bytes", picture.display(), text.len());
    }
}
