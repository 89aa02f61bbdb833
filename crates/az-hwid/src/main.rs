//! az-hwid: nothing in, the hardware id out.

mod cli;
mod explain;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
