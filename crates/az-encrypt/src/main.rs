//! az-encrypt seals plaintext.

mod changes;
mod cli;
mod content;
mod images;
mod run;
mod signers;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Encrypt, UnlockState::Idle, run::run)
}
