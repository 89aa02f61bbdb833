//! The command line of az-status.

use std::ffi::OsString;
use std::path::PathBuf;

const AFTER: &str = "\
Without COMMAND, FILE and --run-dir, az-status reads standard input; if that is a terminal or
/dev/null, it reads the directory AZ_RUN_DIR. The verdict goes to standard output. With COMMAND,
standard output belongs to the command, and the verdict goes to standard error (or to -o FILE).
AZ_EVENTS=human prints lines instead of bars, AZ_EVENTS=off only errors, and AZ_EVENTS=json event
lines (not on a terminal).

Exit status: 0 if every stage is ready, otherwise that of the first failure; 75 if a stage was
killed (run it again), 70 if it crashed; that of COMMAND if it fails although every stage is ready;
65 if there are no events; 66 if there is no such run; 130 after Ctrl-C.

Examples:
  az-status -- bash -o pipefail -c 'az-login | az-fetch key-fragment | az-join - device.frag |
      az-decrypt --key-file - images.enc | az-load'
  (az-decrypt --key-file key app.enc | docker load >&2) 2>&1 | az-status --log-dir /var/log/azaion
  az-status --run-dir /run/azaion --json | jq -r .cause.stage";

/// Watch the stages of a pipeline, and report which of them failed first
#[derive(Debug, clap::Parser)]
#[command(version, after_help = AFTER, override_usage = "az-status [OPTIONS] [FILE]...\n       az-status [OPTIONS] -- COMMAND...")]
pub(crate) struct Cli {
    /// Files with event lines; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "command")]
    pub(crate) files: Vec<PathBuf>,

    /// Command to run; sets AZ_RUN, AZ_RUN_DIR and AZ_EVENTS=json, and reads its standard error
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<OsString>,

    /// Read DIR/az-*.jsonl, which stages write if AZ_RUN_DIR is set
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "command"])]
    pub(crate) run_dir: Option<PathBuf>,

    /// Report on this run [default: the newest one]
    #[arg(long, value_name = "ID", env = "AZ_RUN", hide_env = true, value_parser = parse_run)]
    pub(crate) run: Option<String>,

    /// Print the verdict as a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the verdict to FILE, which is replaced atomically; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write the current state to FILE as JSON, for programs that poll it
    #[arg(long, value_name = "FILE", env = "AZ_STATUS_FILE", hide_env = true)]
    pub(crate) status_file: Option<PathBuf>,

    /// Append every line to DIR/log_loader_YYYYMMDD.txt (UTC)
    #[arg(long, value_name = "DIR", env = "AZ_LOG_DIR", hide_env = true)]
    pub(crate) log_dir: Option<PathBuf>,

    /// Number of days to keep logs, including today
    #[arg(long, value_name = "N", env = "AZ_LOG_KEEP", hide_env = true, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) log_keep: u16,

    /// Write metrics to FILE (*.prom), for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE", env = "AZ_PROMETHEUS", hide_env = true)]
    pub(crate) prometheus: Option<PathBuf>,
}

fn parse_run(text: &str) -> Result<String, String> {
    if loader_stage::is_run_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned())
    }
}
