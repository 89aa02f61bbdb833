//! az-encrypt: plaintext in, a sealed stream out.

mod cli;
mod images;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
