//! az-join joins fragments to their key, or two parts to their sealed file.

mod cli;
mod fragments;
mod parts;

use loader_stage::{Stage, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::DownloadingKey, run)
}

fn run(cli: &cli::Cli, stage: &Stage) -> anyhow::Result<()> {
    if cli.parts { parts::run(cli, stage) } else { fragments::run(cli, stage) }
}
