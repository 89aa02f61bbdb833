//! Generates the man page and the shell completions of a program from its command line. It is
//! only part of builds with the feature `manual`, which `scripts/manual` builds and runs.

use crate::config;
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use loader_model::ErrorCode;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

/// Variable with the requested output: `man`, `bash`, `zsh` or `fish`.
const OUTPUT_FORMAT: &str = "AZ_MANUAL";

/// Variable with the names of the other pages, separated by spaces.
const SEE_ALSO: &str = "AZ_MANUAL_ALSO";

/// Variable with the date of the page, such as 2026-11-23.
const DATE: &str = "AZ_MANUAL_DATE";

/// An environment variable in the manual.
struct Variable {
    name: String,
    description: String,
}

/// Returns the variables that every stage reads in addition to those of its options.
fn common_variables() -> [Variable; 4] {
    let variable =
        |name: &str, description: &str| Variable { name: name.to_owned(), description: description.to_owned() };
    [
        variable(
            "AZ_EVENTS",
            "Format of the events on standard error: json (the default), human for text, off for errors only.",
        ),
        variable("AZ_RUN", "Name of the run, which all stages of a pipeline share; random if not set."),
        variable("AZ_RUN_DIR", "Directory in which every stage appends its events to <stage>.jsonl."),
        variable("SOURCE_DATE_EPOCH", "Time of all events, in seconds since 1970; events then have no process id."),
    ]
}

/// Prints the output that `AZ_MANUAL` requests. Returns `None` if it is not set, so that the
/// program runs as usual.
pub fn print(command: &Command) -> Option<ExitCode> {
    let what = env::var(OUTPUT_FORMAT).ok().filter(|what| !what.is_empty())?;
    let text = match what.as_str() {
        "man" => man_page(command),
        shell => shell.parse().map_err(io::Error::other).map(|shell: Shell| completion(shell, command)),
    };
    Some(match text.and_then(|text| io::stdout().write_all(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn completion(shell: Shell, command: &Command) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command.clone(), command.get_name(), &mut text);
    text
}

fn man_page(command: &Command) -> io::Result<Vec<u8>> {
    let sections = HelpSections::read(command);
    let version = command.get_version().unwrap_or_default();
    let man = Man::new(command.clone())
        .title(command.get_name().to_uppercase())
        .source(format!("loader {version}"))
        .manual("The loader")
        .date(env::var(DATE).unwrap_or_default());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut more = Roff::new();
    for paragraph in &sections.notes {
        more.control("PP", []).text([roman(paragraph)]);
    }
    more.to_writer(&mut text)?;
    man.render_options_section(&mut text)?;

    let mut rest = Roff::new();
    exit_status(&mut rest, &sections);
    environment(&mut rest, command);
    files(&mut rest, command);
    if !sections.examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]).control("EX", []);
        for line in &sections.examples {
            rest.text([roman(line)]);
        }
        rest.control("EE", []);
    }
    see_also(&mut rest, command.get_name());
    rest.to_writer(&mut text)?;
    Ok(text)
}

/// The text after the options in the help, split into the sections of the man page.
#[derive(Default)]
struct HelpSections {
    notes: Vec<String>,
    exit_status: Vec<String>,
    examples: Vec<String>,
}

impl HelpSections {
    /// Splits the text: paragraphs that begin with `Examples:` and `Exit status:` have
    /// sections of their own; a line of the examples that is not indented is a note.
    fn read(command: &Command) -> Self {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut sections = Self::default();
        for paragraph in text.split("\n\n").map(str::trim_end).filter(|paragraph| !paragraph.is_empty()) {
            if let Some(examples) = paragraph.strip_prefix("Examples:") {
                for line in examples.lines().filter(|line| !line.is_empty()) {
                    match line.strip_prefix("  ") {
                        Some(example) => sections.examples.push(example.to_owned()),
                        None => sections.notes.push(line.to_owned()),
                    }
                }
            } else if let Some(status) = paragraph.strip_prefix("Exit status:") {
                sections.exit_status.push(capitalize(&one_line(status)));
            } else {
                sections.notes.push(one_line(paragraph));
            }
        }
        sections
    }
}

fn exit_status(roff: &mut Roff, sections: &HelpSections) {
    roff.control("SH", ["EXIT STATUS"]);
    for paragraph in &sections.exit_status {
        roff.text([roman(paragraph)]).control("PP", []);
    }
    roff.text([roman("The name in parentheses is the code in the error event.")]);
    roff.control("TP", []).text([bold("0")]);
    roff.text([roman("Success: all output was verified, written, and accepted by the kernel.")]);
    let mut last = 0;
    for code in ErrorCode::ALL {
        if code.exit() == last {
            roff.control("br", []);
        } else {
            roff.control("TP", []).text([bold(code.exit().to_string())]);
        }
        last = code.exit();
        let retry = if code.is_retryable() { " A retry may succeed." } else { "" };
        roff.text([roman(format!("{} ({code}).{retry}", code.meaning().trim_end_matches('.')))]);
    }
}

fn environment(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["ENVIRONMENT"]);
    let options =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| Some((arg, arg.get_env()?)));
    let mut variables: Vec<_> = options
        .map(|(arg, name)| Variable {
            name: name.to_string_lossy().into_owned(),
            description: format!("Default of {}.", flag(arg)),
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    for common in common_variables() {
        if !variables.iter().any(|variable| variable.name == common.name) {
            variables.push(common);
        }
    }
    for Variable { name, description } in variables {
        roff.control("TP", []).text([bold(name)]).text([roman(description)]);
    }
    let credentials: Vec<_> =
        config::systemd_credentials_of(command).map(|name| format!("{name} (--{name}-file)")).collect();
    if !credentials.is_empty() {
        let text = format!(
            "Directory of the systemd credentials. Those that are defaults of options: {}.",
            credentials.join(", ")
        );
        roff.control("TP", []).text([bold("CREDENTIALS_DIRECTORY")]).text([roman(text)]);
    }
}

fn files(roff: &mut Roff, command: &Command) {
    let keys: Vec<_> = config::config_keys_of(command).collect();
    if keys.is_empty() {
        return;
    }
    roff.control("SH", ["FILES"]);
    for path in ["$XDG_CONFIG_HOME/azaion/config.yaml", "/etc/azaion/config.yaml"] {
        roff.control("TP", []).text([italic(path)]);
        roff.text([roman(if path.starts_with('/') {
            "Settings of the machine, with the lowest precedence."
        } else {
            "Settings of the user. Options, environment variables and systemd credentials take precedence."
        })]);
    }
    roff.control("PP", []);
    roff.text([roman(format!("This program uses these settings: {}.", keys.join(", ")))]);
}

fn see_also(roff: &mut Roff, own: &str) {
    let also = env::var(SEE_ALSO).unwrap_or_default();
    let mut names: Vec<_> = also.split_whitespace().filter(|name| *name != own).collect();
    names.sort_unstable();
    let Some((last, others)) = names.split_last() else { return };
    roff.control("SH", ["SEE ALSO"]);
    for name in others {
        roff.text([bold(*name), roman("(1),")]);
    }
    roff.text([bold(*last), roman("(1)")]);
}

fn flag(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns `text` with an upper-case first letter.
fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
