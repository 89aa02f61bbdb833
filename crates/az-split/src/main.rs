//! az-split: a key in, fragments out; or a sealed file in, two part files out.

mod cli;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
