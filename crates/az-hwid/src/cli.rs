//! The command line of az-hwid.

use loader_stage::{OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-hwid > hwid                        # as root, once; then --hwid-file hwid serves any user
  az-hwid --explain | jq -r '.sources[] | [.name, .state, .reason] | @tsv'
  az-hwid --enroll > card.json          # later: az-hwid --card card.json names what changed

Strong sources stay with the board: device tree serial, DMI product UUID and board serial,
processor serial, eMMC CID. NVMe serials and the machine id count, and do not make an id alone.";

/// Print the hardware id that sealed answers are bound to: 64 hexadecimal digits
#[derive(Debug, clap::Parser)]
#[command(name = "az-hwid", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// List the sources as JSON instead: used or not, and why; never a serial
    #[arg(long, conflicts_with_all = ["enroll", "card"])]
    pub(crate) explain: bool,

    /// Print an enrolment card instead: JSON, a short hash of each source
    #[arg(long, conflicts_with = "card")]
    pub(crate) enroll: bool,

    /// Compare with this card first; 79 and the sources' names where they differ
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,

    /// Print the hardware id in this file instead; - is standard input
    #[arg(long, value_name = "FILE", env = "AZ_HWID_FILE")]
    pub(crate) hwid_file: Option<PathBuf>,

    /// Read the sources below DIR instead of /
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) sysroot: PathBuf,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}
