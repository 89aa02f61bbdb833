//! Command line of az-join.

use loader_stage::{OutputArgs, StageArgs};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  az-login | az-fetch key-fragment | az-join - device.frag | az-decrypt --key-file - images.enc
  az-join --set-card card.json 1.frag 3.frag 4.frag -o key
  az-join --parts yolo.onnx.small yolo.onnx.big --receipt receipt.json -o yolo.onnx.enc";

/// Join fragments to their key, or two parts to their sealed file
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// File with one or more fragments; - or no FILE is standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The only FILE is a fragment without text form: its SHA-256 is the key
    #[arg(long)]
    pub(crate) raw_sha256: bool,

    /// Check each fragment against this set card of az-split
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw_sha256", "parts"])]
    pub(crate) set_card: Option<PathBuf>,

    /// Join two FILEs: small part (with or without receipt), big part
    #[arg(long, conflicts_with = "raw_sha256")]
    pub(crate) parts: bool,

    /// Check the parts against this receipt of az-split
    #[arg(long, value_name = "PATH", requires = "parts")]
    pub(crate) receipt: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl Cli {
    /// Returns the given files, or standard input.
    pub(crate) fn inputs(&self) -> Vec<&Path> {
        if self.files.is_empty() { vec![Path::new("-")] } else { self.files.iter().map(PathBuf::as_path).collect() }
    }
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}
