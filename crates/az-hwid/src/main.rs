//! az-hwid: prints the hardware id.

mod cli;
mod explain;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
