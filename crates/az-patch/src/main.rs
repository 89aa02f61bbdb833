//! az-patch changes a release into another one with a patch.

mod cli;
mod failure;
mod in_place;
mod run;
mod sealed_patch;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Patch, UnlockState::Idle, run::run)
}
