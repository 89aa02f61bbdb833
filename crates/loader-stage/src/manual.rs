//! The manual of a program, from its command line: a man page, or what a shell
//! completes. Only a build with the feature `manual` has it; `scripts/manual`
//! makes one, runs it, and throws it away.

use crate::defaults;
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use loader_model::ErrorCode;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

/// What is asked for: `man`, `bash`, `zsh` or `fish`.
const WHAT: &str = "AZ_MANUAL";

/// Names of the other pages, separated by spaces.
const ALSO: &str = "AZ_MANUAL_ALSO";

/// Day of the page, such as 2026-11-23.
const DATE: &str = "AZ_MANUAL_DATE";

/// What every stage reads beside its options.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("AZ_EVENTS", "How events look on standard error: json (the default), human for text, off for errors only."),
    ("AZ_RUN", "Name of the run, which the stages of a pipeline share; random without it."),
    ("AZ_RUN_DIR", "Folder to which every stage appends its events as <stage>.jsonl."),
    ("SOURCE_DATE_EPOCH", "Time of all events, in seconds since 1970; leaves the process id out."),
];

/// Prints what `AZ_MANUAL` asks for to standard output; `None` where it asks for
/// nothing and the program is to run.
pub fn print(command: &Command) -> Option<ExitCode> {
    let what = env::var(WHAT).ok().filter(|what| !what.is_empty())?;
    let text = match what.as_str() {
        "man" => page(command),
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

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let after = After::read(command);
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
    for paragraph in &after.notes {
        more.control("PP", []).text([roman(paragraph)]);
    }
    more.to_writer(&mut text)?;
    man.render_options_section(&mut text)?;

    let mut rest = Roff::new();
    exit_status(&mut rest, &after);
    environment(&mut rest, command);
    files(&mut rest, command);
    if !after.examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]).control("EX", []);
        for line in &after.examples {
            rest.text([roman(line)]);
        }
        rest.control("EE", []);
    }
    see_also(&mut rest, command.get_name());
    rest.to_writer(&mut text)?;
    Ok(text)
}

/// What stands behind the options of the help text, by its place in the page.
#[derive(Default)]
struct After {
    notes: Vec<String>,
    exit_status: Vec<String>,
    examples: Vec<String>,
}

impl After {
    /// Paragraphs that begin with `Examples:` and `Exit status:` have sections of
    /// their own; a line among the examples that is not indented is a note.
    fn read(command: &Command) -> Self {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut after = Self::default();
        for paragraph in text.split("\n\n").map(str::trim_end).filter(|paragraph| !paragraph.is_empty()) {
            if let Some(examples) = paragraph.strip_prefix("Examples:") {
                for line in examples.lines().filter(|line| !line.is_empty()) {
                    match line.strip_prefix("  ") {
                        Some(example) => after.examples.push(example.to_owned()),
                        None => after.notes.push(line.to_owned()),
                    }
                }
            } else if let Some(status) = paragraph.strip_prefix("Exit status:") {
                after.exit_status.push(sentence(&one_line(status)));
            } else {
                after.notes.push(one_line(paragraph));
            }
        }
        after
    }
}

fn exit_status(roff: &mut Roff, after: &After) {
    roff.control("SH", ["EXIT STATUS"]);
    for paragraph in &after.exit_status {
        roff.text([roman(paragraph)]).control("PP", []);
    }
    roff.text([roman("The name in parentheses is the code in the error event.")]);
    roff.control("TP", []).text([bold("0")]);
    roff.text([roman("Done: everything is verified, written, and accepted by the system.")]);
    let mut last = 0;
    for code in ErrorCode::ALL {
        match code.exit() == last {
            true => roff.control("br", []),
            false => roff.control("TP", []).text([bold(code.exit().to_string())]),
        };
        last = code.exit();
        let again = if code.is_retryable() { " Worth another try." } else { "" };
        roff.text([roman(format!("{} ({code}).{again}", code.meaning().trim_end_matches('.')))]);
    }
}

fn environment(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["ENVIRONMENT"]);
    let options =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| Some((arg, arg.get_env()?)));
    let (mut own, mut taken) = (Vec::new(), Vec::new());
    for (arg, name) in options {
        let name = name.to_string_lossy().into_owned();
        own.push((name.clone(), format!("Stands in for {}.", flag(arg))));
        taken.push(name);
    }
    own.sort();
    let common = ENVIRONMENT.iter().filter(|(name, _)| !taken.iter().any(|taken| taken == name));
    let common = common.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    for (name, text) in own.into_iter().chain(common) {
        roff.control("TP", []).text([bold(name)]).text([roman(text)]);
    }
    let credentials: Vec<_> = defaults::credentials_of(command).map(|name| format!("{name} (--{name}-file)")).collect();
    if !credentials.is_empty() {
        let text = format!(
            "Folder of systemd's credentials, of which these stand in for options: {}.",
            credentials.join(", ")
        );
        roff.control("TP", []).text([bold("CREDENTIALS_DIRECTORY")]).text([roman(text)]);
    }
}

fn files(roff: &mut Roff, command: &Command) {
    let keys: Vec<_> = defaults::keys_of(command).collect();
    if keys.is_empty() {
        return;
    }
    roff.control("SH", ["FILES"]);
    for path in ["$XDG_CONFIG_HOME/azaion/config.yaml", "/etc/azaion/config.yaml"] {
        roff.control("TP", []).text([italic(path)]);
        roff.text([roman(match path.starts_with('/') {
            true => "The machine's settings, which come last.",
            false => "The user's settings, which count where neither an option, nor the environment, nor a credential of systemd does.",
        })]);
    }
    roff.control("PP", []);
    roff.text([roman(format!("Of the settings there, this program takes {}.", keys.join(", ")))]);
}

fn see_also(roff: &mut Roff, own: &str) {
    let also = env::var(ALSO).unwrap_or_default();
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

/// `text` with a capital in front.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
