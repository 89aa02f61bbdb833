//! az-rekey changes the keys of a sealed file.

mod change;
mod cli;
mod in_place;
mod overwrite;
mod published;
mod stream;

use loader_stage::{ErrorCode, Failure, Stage, StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Rekey, UnlockState::Idle, run)
}

fn run(cli: &cli::Cli, stage: &Stage) -> anyhow::Result<()> {
    match cli.in_place() {
        Some(path) if cli.recover => in_place::recover(stage, path),
        Some(path) => in_place::run(cli, stage, path),
        None if cli.recover => Err(Failure::new(ErrorCode::Usage, "--recover takes a FILE").into()),
        None => stream::run(cli, stage),
    }
}
