//! az-split splits a key into fragments, or a sealed file into two parts.

mod cli;
mod run;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Split, UnlockState::Idle, run::run)
}
