//! az-status: reads the event lines of a pipeline, and prints one verdict.

mod cli;
mod clock;
mod daily_log;
mod event;
mod input;
mod line_reader;
mod polled_file;
mod processes;
mod prometheus;
#[cfg(test)]
mod property;
mod release;
mod root_cause;
mod run;
mod screen;
mod signals;
mod status;
mod status_file;
mod stderr;
mod temp_run_dir;
mod text;
mod verdict;

fn main() -> std::process::ExitCode {
    loader_stage::run_watcher(loader_stage::StageName::Status, run::run)
}
