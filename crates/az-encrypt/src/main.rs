//! az-encrypt seals plaintext.

mod cli;
mod content;
mod images;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
