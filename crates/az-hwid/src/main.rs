//! az-hwid: prints the hardware id.

mod cli;
mod explain;
mod run;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Hwid, UnlockState::Idle, run::run)
}
