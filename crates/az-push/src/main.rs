//! az-push: reads a sealed stream, publishes it in two parts, prints a JSON receipt.

mod cli;
mod published;
mod run;
mod small_part;
mod split;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Push, UnlockState::Idle, run::run)
}
