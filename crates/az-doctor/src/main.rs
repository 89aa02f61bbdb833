//! az-doctor: checks whether this device is ready to unlock, and prints a JSON report.

mod checks;
mod cli;
mod context;
mod finding;
mod run;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Doctor, UnlockState::Idle, run::run)
}
