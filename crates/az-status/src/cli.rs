//! The command line of az-status.

use std::ffi::OsString;
use std::path::PathBuf;

const AFTER: &str = "\
Without COMMAND, FILE and --run-dir: standard input; where that is a terminal or
/dev/null, the folder in AZ_RUN_DIR. Standard output has the verdict; with COMMAND it is
the command's, and the verdict goes to standard error (-o FILE keeps it apart).
AZ_EVENTS=human: no bars; off: only errors; json: event lines (never to a terminal).

Exit status: 0 when every stage was ready, else that of the first cause. 75 for a stage
that was killed (worth a retry), 70 if it crashed; the command's own where all stages were
ready; 65 without any event; 66 for a run that is not there; 130 after Ctrl-C.

Examples:
  az-status -- bash -o pipefail -c 'az-login | az-fetch key-fragment | az-join - device.frag |
      az-decrypt --key-file - images.enc | az-load'
  (az-decrypt --key-file key app.enc | docker load >&2) 2>&1 | az-status --log-dir /var/log/azaion
  az-status --run-dir /run/azaion --json | jq -r .cause.stage";

/// Watch the stages of an unlock; end with one verdict that names the first cause
#[derive(Debug, clap::Parser)]
#[command(name = "az-status", version, after_help = AFTER, override_usage = "az-status [OPTIONS] [FILE]...\n       az-status [OPTIONS] -- COMMAND...")]
pub(crate) struct Cli {
    /// Files of event lines; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "command")]
    pub(crate) files: Vec<PathBuf>,

    /// Command whose standard error is read; it gets AZ_RUN, AZ_RUN_DIR and AZ_EVENTS=json
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<OsString>,

    /// Read DIR/az-*.jsonl, as stages leave them under AZ_RUN_DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "command"])]
    pub(crate) run_dir: Option<PathBuf>,

    /// Judge this run; without it the newest one
    #[arg(long, value_name = "ID", env = "AZ_RUN", hide_env = true, value_parser = parse_run)]
    pub(crate) run: Option<String>,

    /// Write the verdict as a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the verdict to FILE, whole or not at all; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Keep the state of the whole unlock in FILE, as JSON, for pollers
    #[arg(long, value_name = "FILE", env = "AZ_STATUS_FILE", hide_env = true)]
    pub(crate) status_file: Option<PathBuf>,

    /// Append every line to DIR/log_loader_YYYYMMDD.txt (UTC)
    #[arg(long, value_name = "DIR", env = "AZ_LOG_DIR", hide_env = true)]
    pub(crate) log_dir: Option<PathBuf>,

    /// Days of logs to keep, today included
    #[arg(long, value_name = "N", env = "AZ_LOG_KEEP", hide_env = true, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) log_keep: u16,

    /// Write metrics for the textfile collector of node_exporter to FILE (*.prom)
    #[arg(long, value_name = "FILE", env = "AZ_PROMETHEUS", hide_env = true)]
    pub(crate) prometheus: Option<PathBuf>,
}

fn parse_run(text: &str) -> Result<String, String> {
    if crate::event::is_run_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
    }
}
