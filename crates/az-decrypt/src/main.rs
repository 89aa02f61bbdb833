//! az-decrypt opens a sealed file and writes its verified plaintext.

mod cli;
mod run;
mod sealed;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Decrypting, run::run)
}
