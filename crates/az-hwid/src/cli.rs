//! The command line of az-hwid.

use loader_stage::{OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-hwid > hwid                        # once as root; other users pass --hwid-file hwid
  az-hwid --explain | jq -r '.sources[] | [.name, .state, .reason] | @tsv'
  az-hwid --enroll > card.json          # later: az-hwid --card card.json reports changes

At least one strong source is required, which stays with the board: device tree serial, DMI
product UUID, DMI board serial, processor serial or eMMC CID. The serials of NVMe drives and the
machine id are part of the id, but not enough for one.";

/// Print the hardware id of this device, which sealed answers are bound to: 64 hexadecimal digits
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// List the sources as JSON instead, with the reason if unused; no serials
    #[arg(long, conflicts_with_all = ["enroll", "card"])]
    pub(crate) explain: bool,

    /// Print an enrolment card instead: JSON with a short hash of each source
    #[arg(long, conflicts_with = "card")]
    pub(crate) enroll: bool,

    /// Compare with this card first; if it differs, list the sources and exit 79
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,

    /// Read the hardware id from FILE instead; - is standard input
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
