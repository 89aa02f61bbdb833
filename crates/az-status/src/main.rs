//! az-status: the merged event lines of a pipeline in, one verdict out.

mod board;
mod cli;
mod clock;
mod event;
mod folder;
mod journal;
mod judge;
mod lines;
mod outlook;
mod prometheus;
#[cfg(test)]
mod property;
mod replace;
mod run;
mod run_dir;
mod screen;
mod signals;
mod source;
mod verdict;
mod wording;

fn main() -> std::process::ExitCode {
    loader_stage::run_watcher(run::run)
}
