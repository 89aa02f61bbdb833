//! az-doctor: nothing in, what an unlock would stumble over on this device out, as JSON.

mod checks;
mod cli;
mod finding;
mod run;
mod visit;

use loader_stage::UnlockState;

fn main() -> std::process::ExitCode {
    loader_stage::run(UnlockState::Idle, run::run)
}
