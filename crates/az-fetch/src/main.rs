//! az-fetch: a JWT in, the bytes of a resource or the server's fragment out.

mod big;
mod cli;
mod fragment;
mod many;
mod origin;
mod resource;
mod run;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::DownloadingKey, run::run)
}
