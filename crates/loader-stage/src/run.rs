//! From the command line to the exit status.

use crate::defaults::unset_empty;
use crate::emit::{Emitter, Report};
use crate::{Failure, Stage, StageArgs, defaults, process, stdout_is_open};
use clap::Parser;
use loader_model::{ErrorCode, UnlockState};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Columns that a help text has at most.
const HELP_WIDTH: usize = 100;

/// Runs a filter: reads the command line, says `idle`, calls `filter`, says
/// `ready` or `error`, and gives the exit status. `working` is what
/// [`Stage::begin`] reports.
pub fn run<C>(working: UnlockState, filter: impl FnOnce(&C, &Stage) -> anyhow::Result<()>) -> ExitCode
where
    C: Parser + AsRef<StageArgs>,
{
    process::hide_memory();
    process::write_past_limits();
    let command = C::command().term_width(HELP_WIDTH);
    #[cfg(feature = "manual")]
    if let Some(printed) = crate::manual::print(&command) {
        return printed;
    }
    let (emitter, problem) = Emitter::from_environment(command.get_name());
    let emitter = Arc::new(emitter);
    process::report_panics(emitter.clone());
    let outcome = match problem {
        Some(failure) => Err(failure),
        None => staged(&emitter, command, working, filter),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            emitter.error(&failure);
            ExitCode::from(failure.code().exit())
        }
    }
}

/// Runs a program that watches stages and is none itself: reads the command line
/// as [`run`] does, calls `watcher`, and gives the exit status that it picks. It
/// says nothing but the `error` of a watcher that fails, on a terminal as text.
/// Signals stay with the watcher, which has to outlive what it watches.
pub fn watch<C: Parser>(watcher: impl FnOnce(&C) -> anyhow::Result<ExitCode>) -> ExitCode {
    process::write_past_limits();
    let command = C::command().term_width(HELP_WIDTH);
    #[cfg(feature = "manual")]
    if let Some(printed) = crate::manual::print(&command) {
        return printed;
    }
    let (emitter, problem) = Emitter::from_environment(command.get_name());
    let emitter = Arc::new(emitter.text_on_terminal());
    process::report_panics(emitter.clone());
    let outcome = problem.map_or(Ok(()), Err).and_then(|()| parse::<C>(command)).and_then(|parsed| match parsed {
        Parsed::Command(cli) => watcher(&cli).map_err(Failure::from_error),
        Parsed::Shown => Ok(ExitCode::SUCCESS),
    });
    outcome.unwrap_or_else(|failure| {
        emitter.error(&failure);
        ExitCode::from(failure.code().exit())
    })
}

/// What a command line asks for.
enum Parsed<C> {
    /// The work.
    Command(C),
    /// Help or version, which was written.
    Shown,
}

fn parse<C: Parser>(command: clap::Command) -> Result<Parsed<C>, Failure> {
    let settings = match defaults::read() {
        Ok(settings) => settings,
        // Help must be there for someone whose config file is broken.
        Err(failure) => match unset_empty(command).try_get_matches() {
            Err(error) if !error.use_stderr() => return show(&error).map(|()| Parsed::Shown),
            _ => return Err(failure),
        },
    };
    let with_settings = unset_empty(settings.apply(command.clone())).try_get_matches();
    match with_settings.and_then(|matches| C::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Parsed::Command(cli)),
        Err(error) if !error.use_stderr() => show(&error).map(|()| Parsed::Shown),
        // A line that is wrong by itself is told before what a file says.
        Err(error) => Err(match unset_empty(command.clone()).try_get_matches() {
            Err(error) => usage(&error),
            Ok(_) => settings.culprit(&command, cause).unwrap_or_else(|| usage(&error)),
        }),
    }
}

fn staged<C>(
    emitter: &Arc<Emitter>,
    command: clap::Command,
    working: UnlockState,
    filter: impl FnOnce(&C, &Stage) -> anyhow::Result<()>,
) -> Result<ExitCode, Failure>
where
    C: Parser + AsRef<StageArgs>,
{
    let cli = match parse::<C>(command) {
        Ok(Parsed::Command(cli)) => cli,
        Ok(Parsed::Shown) => return Ok(ExitCode::SUCCESS),
        Err(failure) => {
            // Whoever waits for the stage finds its last line in the run folder.
            emitter.append_to_run_dir()?;
            return Err(failure);
        }
    };
    let args: &StageArgs = cli.as_ref();
    // First, since whoever waits for the stage looks there for its last line.
    emitter.append_to_run_dir()?;
    if let Some(path) = &args.events_file {
        emitter.append_to(path)?;
    }
    process::watch_signals(emitter.clone()).map_err(|error| Failure::io("signals", &error))?;
    emitter.state(UnlockState::Idle, Report::default());
    emitter.check_files()?;
    let stage = Stage::new(emitter.clone(), working, args.insecure_perms);
    filter(&cli, &stage).map_err(Failure::from_error)?;
    stage.ready();
    Ok(ExitCode::SUCCESS)
}

/// Help or version on standard output; a reader that left has seen enough.
fn show(text: &clap::Error) -> Result<(), Failure> {
    stdout_is_open()?;
    match std::io::stdout().write_all(text.render().to_string().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::io("standard output", &error)),
        _ => Ok(()),
    }
}

/// clap's report as one line, with the usage as the hint.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let rest = text.split_once("\n\n").map_or("", |(_, rest)| rest);
    let usage = rest.lines().find(|line| line.starts_with("Usage: "));
    let hint = usage.map_or("see --help".to_owned(), |usage| format!("{usage}; --help tells more"));
    Failure::new(ErrorCode::Usage, cause(error)).hint(hint)
}

/// The first paragraph of clap's report as one line.
fn cause(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let cause = text.split("\n\n").next().unwrap_or_default();
    cause.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}
