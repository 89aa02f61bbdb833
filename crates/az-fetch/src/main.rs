//! az-fetch: reads a JWT, writes a resource or the server's key fragment.

mod batch;
mod big_part;
mod cli;
mod context;
mod fragment;
mod resource;
mod run;
mod sealed_source;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Fetch, UnlockState::DownloadingKey, run::run)
}
