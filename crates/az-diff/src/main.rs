//! az-diff makes a patch from one release to another.

mod cli;
mod run;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Diff, UnlockState::Idle, run::run)
}
