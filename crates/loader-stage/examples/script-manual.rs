//! Prints the man page or the completions of a script, in the same form as those of a
//! filter. It reads the help text of the script from standard input; `scripts/manual` runs
//! it with AZ_MANUAL set.
//!
//! The text begins with `NAME: description`, followed by `Usage:` and `Options:` as in the
//! help of a filter. The rest is treated like the text after the options of a filter.

use clap::{Arg, ArgAction, Command, ValueHint};
use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut help = String::new();
    if std::io::stdin().read_to_string(&mut help).is_err() {
        return ExitCode::FAILURE;
    }
    match command(&help) {
        Some(command) => loader_stage::print_manual(&command).unwrap_or(ExitCode::FAILURE),
        None => ExitCode::FAILURE,
    }
}

/// Parses a help text into the command that it describes.
fn command(help: &str) -> Option<Command> {
    let (name, rest) = help.split_once(": ")?;
    let (about, rest) = rest.split_once("\n\n")?;
    let (notes, rest) = rest.split_once("Usage: ")?;
    let (usage, rest) = rest.split_once("\n\n")?;
    let (options, after) = rest.strip_prefix("Options:\n")?.split_once("\n\n")?;
    let command = Command::new(name.to_owned())
        .about(about.split_whitespace().collect::<Vec<_>>().join(" "))
        .override_usage(usage.to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_flag(true)
        .after_help(format!("{notes}{after}"));
    options.lines().try_fold(command, |command, line| Some(command.arg(option(line)?)))
}

/// Parses the option in a line such as `  -o, --output FILE  Write to FILE`.
fn option(line: &str) -> Option<Arg> {
    let (form, text) = line.trim_start().split_once("  ")?;
    let mut arg = None;
    for word in form.split([' ', ',']).filter(|word| !word.is_empty()) {
        arg = Some(match (word.strip_prefix("--"), word.strip_prefix('-'), arg) {
            (Some(long), _, arg) => {
                let arg: Arg = arg.unwrap_or_else(|| Arg::new(long.to_owned()));
                arg.long(long.to_owned()).action(ArgAction::SetTrue)
            }
            (None, Some(short), None) => Arg::new(short.to_owned()).short(short.chars().next()?),
            (None, None, Some(arg)) => arg.action(ArgAction::Set).value_name(word.to_owned()).value_hint(match word {
                "FILE" => ValueHint::FilePath,
                "DIR" => ValueHint::DirPath,
                "COMMAND" => ValueHint::CommandString,
                _ => ValueHint::Unknown,
            }),
            _ => return None,
        });
    }
    let (mut arg, mut text) = (arg?, text.trim());
    while let Some((before, bracket)) = text.rsplit_once(" [") {
        arg = match bracket.strip_suffix(']')?.split_once(": ")? {
            ("default", value) => arg.default_value(value.to_owned()),
            ("env", name) => arg.env(name.trim_end_matches('=').to_owned()),
            _ => return None,
        };
        text = before;
    }
    Some(arg.help(text.to_owned()))
}
