//! az-push: reads a sealed stream, publishes it in two parts, prints a JSON receipt.

mod cli;
mod published;
mod run;
mod small_part;
mod split;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
