//! Runs a filter: from the command line to the exit status.

use crate::config::unset_empty;
use crate::events::{Emitter, EventFields};
use crate::{Failure, Stage, StageArgs, config, process, stdout_is_open};
use clap::Parser;
use loader_model::{ErrorCode, StageName, UnlockState};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Maximum width of a help text in columns.
const MAX_HELP_WIDTH: usize = 100;

/// Runs the filter `name`: parses the command line, reports `idle`, calls `filter`, reports
/// `ready` or `error`, and returns the exit status. `working` is the state that
/// [`Stage::begin`] reports.
pub fn run<C>(name: StageName, working: UnlockState, filter: impl FnOnce(&C, &Stage) -> anyhow::Result<()>) -> ExitCode
where
    C: Parser + AsRef<StageArgs>,
{
    process::disable_core_dumps();
    run_program::<C>(name, std::convert::identity, |emitter, command| run_stage(emitter, command, working, filter))
}

/// Runs the program `name`, which watches stages but is not a stage itself: parses the command
/// line like [`run`], calls `watcher`, and returns the exit status that `watcher` chooses. It
/// writes only one event, the `error` of a failed watcher, and writes it as text on a terminal.
/// The watcher handles signals itself, because it must outlive the stages.
pub fn run_watcher<C: Parser>(name: StageName, watcher: impl FnOnce(&C) -> anyhow::Result<ExitCode>) -> ExitCode {
    run_program::<C>(name, Emitter::text_on_terminal, |_, command| match parse::<C>(command)? {
        Parsed::Command(cli) => watcher(&cli).map_err(Failure::from_error),
        Parsed::Shown => Ok(ExitCode::SUCCESS),
    })
}

/// Runs the program `name`, which holds secrets, but is neither a stage nor watches stages: like
/// [`run_watcher`], without core dumps, and with locked memory if the process may lock it.
pub fn run_service<C: Parser>(name: StageName, service: impl FnOnce(&C) -> anyhow::Result<ExitCode>) -> ExitCode {
    process::disable_core_dumps();
    process::lock_memory();
    run_watcher(name, service)
}

/// Calls `program` with the emitter, as changed by `adapt`, and the command line to parse. Reports
/// its failure, and returns the exit status.
fn run_program<C: Parser>(
    name: StageName,
    adapt: impl FnOnce(Emitter) -> Emitter,
    program: impl FnOnce(&Arc<Emitter>, clap::Command) -> Result<ExitCode, Failure>,
) -> ExitCode {
    process::handle_file_size_limit();
    let command = C::command().name(name.as_str()).term_width(MAX_HELP_WIDTH);
    #[cfg(feature = "manual")]
    if let Some(printed) = crate::manual::print(&command) {
        return printed;
    }
    let (emitter, problem) = Emitter::from_environment(name);
    let emitter = Arc::new(adapt(emitter));
    process::report_panics(emitter.clone());
    let outcome = problem.map_or(Ok(()), Err).and_then(|()| program(&emitter, command));
    outcome.unwrap_or_else(|failure| {
        emitter.error(&failure);
        ExitCode::from(failure.code().exit())
    })
}

/// Result of parsing the command line.
enum Parsed<C> {
    /// The options of the filter.
    Command(C),
    /// Help or version was requested and printed.
    Shown,
}

fn parse<C: Parser>(command: clap::Command) -> Result<Parsed<C>, Failure> {
    let settings = match config::read() {
        Ok(settings) => settings,
        // --help must work although a config file is invalid.
        Err(failure) => match unset_empty(command).try_get_matches() {
            Err(error) if !error.use_stderr() => return show(&error).map(|()| Parsed::Shown),
            _ => return Err(failure),
        },
    };
    let with_settings = unset_empty(settings.apply(command.clone())).try_get_matches();
    match with_settings.and_then(|matches| C::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Parsed::Command(cli)),
        Err(error) if !error.use_stderr() => show(&error).map(|()| Parsed::Shown),
        // An invalid command line is reported before an invalid setting of a config file.
        Err(error) => Err(match unset_empty(command.clone()).try_get_matches() {
            Err(error) => usage(&error),
            Ok(_) => settings.find_invalid(&command, cause).unwrap_or_else(|| usage(&error)),
        }),
    }
}

fn run_stage<C>(
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
            // The next stage waits for the final event in the run directory.
            emitter.append_to_run_dir()?;
            return Err(failure);
        }
    };
    let args: &StageArgs = cli.as_ref();
    // First, because the next stage waits for the final event in the run directory.
    emitter.append_to_run_dir()?;
    if let Some(path) = &args.events_file {
        emitter.append_to(path)?;
    }
    process::spawn_signal_thread(emitter.clone()).map_err(|error| Failure::io("signals", &error))?;
    emitter.state(UnlockState::Idle, EventFields::default());
    emitter.check_files()?;
    let stage = Stage::new(emitter.clone(), working, args.insecure_perms);
    filter(&cli, &stage).map_err(Failure::from_error)?;
    stage.ready();
    Ok(ExitCode::SUCCESS)
}

/// Prints help or version on standard output. A reader that closes the pipe is no error.
fn show(text: &clap::Error) -> Result<(), Failure> {
    stdout_is_open()?;
    match std::io::stdout().write_all(text.render().to_string().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::io("standard output", &error)),
        _ => Ok(()),
    }
}

/// Converts clap's error to a failure of one line, with the usage as the hint.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let rest = text.split_once("\n\n").map_or("", |(_, rest)| rest);
    let usage = rest.lines().find(|line| line.starts_with("Usage: "));
    let hint = usage.map_or("see --help".to_owned(), |usage| format!("{usage}; see --help"));
    Failure::new(ErrorCode::Usage, cause(error)).hint(hint)
}

/// Returns the first paragraph of clap's error as one line.
fn cause(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let cause = text.split("\n\n").next().unwrap_or_default();
    cause.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}
