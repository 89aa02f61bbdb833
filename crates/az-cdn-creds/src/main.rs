//! az-cdn-creds: reads a JWT and writes the credentials of the CDN as JSON.

mod cli;
mod run;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::CdnCreds, UnlockState::Authenticating, run::run)
}
