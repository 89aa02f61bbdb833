//! az-decrypt: a sealed stream in, verified plaintext out.

mod cli;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Decrypting, run::run)
}
