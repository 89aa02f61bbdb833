//! az-cdn-creds: a JWT in, CDN JSON out.

mod cli;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Authenticating, run::run)
}
