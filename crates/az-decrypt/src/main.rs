//! az-decrypt opens a sealed file and writes its verified plaintext.

mod cli;
mod run;
mod sealed;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Decrypt, UnlockState::Decrypting, run::run)
}
