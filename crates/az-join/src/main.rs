//! az-join joins fragments to their key, or two parts to their sealed file.

mod cli;
mod fragments;
mod parts;

use loader_stage::{Stage, StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Join, UnlockState::DownloadingKey, run)
}

fn run(cli: &cli::Cli, stage: &Stage) -> anyhow::Result<()> {
    if cli.parts { parts::run(cli, stage) } else { fragments::run(cli, stage) }
}
