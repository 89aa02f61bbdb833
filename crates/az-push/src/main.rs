//! az-push: a sealed stream in, published in two parts; a JSON receipt out.

mod cli;
mod cut;
mod published;
mod run;
mod small;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
