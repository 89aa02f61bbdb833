//! az-join: fragments in, the key out; or two parts in, the sealed file out.

mod cli;
mod key;
mod parts;

use loader_stage::{Stage, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::DownloadingKey, run)
}

fn run(cli: &cli::Cli, stage: &Stage) -> anyhow::Result<()> {
    if cli.parts { parts::run(cli, stage) } else { key::run(cli, stage) }
}
