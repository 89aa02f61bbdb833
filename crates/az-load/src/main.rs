//! az-load: an archive of images in, all of them in the engine or none, their ids out.

mod cli;
mod load;
mod present;
mod producer;
mod run;
mod upstream;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::LoadingImages, run::run)
}
