//! az-load: reads an archive of images, loads all of them or none, prints their ids.

mod cli;
mod load;
mod present;
mod producer;
mod run;
mod target;
mod upstream;

use loader_stage::{StageName, UnlockState};

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Load, UnlockState::LoadingImages, run::run)
}
