//! az-server serves the HTTP API from a directory of plain files, and changes that directory.

mod admin;
mod cli;
mod serve;

use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    loader_stage::run_service(loader_stage::StageName::Server, run)
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Serve(args) => {
            serve::run(&cli.dir, args, admin::audit_log(cli, loader_server::AuditLog::StandardError))
        }
        Command::Check(args) => admin::check(&cli.dir, args),
        Command::User(command) => admin::user(cli, command),
        Command::Fragment(command) => admin::fragment(cli, command),
        Command::Cdn(command) => admin::cdn(cli, command),
        Command::Key(command) => admin::key(cli, command),
    }
}
