//! Command line of az-rekey.

use loader_seal::KeyId;
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  az-rekey --key-file old.key --add new.key --replace images.enc   # key rotation
  az-rekey --key-file a.key --add b.key < images.enc > both.enc
  cat receipt.json yolo.small | az-rekey --key-file a.key --add b.key > yolo.published

The big part and its ETag do not change. The holder of a dropped key can still open copies with
the old header; to prevent that, seal the content again.";

/// Add, drop or replace the keys of a sealed file; only its header is rewritten
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed file or small part, changed in place without -o; - or no FILE is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Add the key in this file; repeatable
    #[arg(long, value_name = "PATH", required_unless_present_any = ["drop", "recover"])]
    pub(crate) add: Vec<PathBuf>,

    /// Drop the key with this id; repeatable
    #[arg(long, value_name = "AZKEY1...", value_parser = parse_key_id)]
    pub(crate) drop: Vec<KeyId>,

    /// Replace the key of --key-file with the keys of --add
    #[arg(long, requires = "add")]
    pub(crate) replace: bool,

    /// Only recover FILE after an interruption, as every change does first
    #[arg(long, conflicts_with_all = ["add", "drop", "replace", "output"])]
    pub(crate) recover: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl Cli {
    /// Returns the file to change in place, or `None` to copy from input to output.
    pub(crate) fn in_place(&self) -> Option<&Path> {
        (self.output.output.is_none() && self.input.as_os_str() != "-").then_some(self.input.as_path())
    }
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn parse_key_id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|_| "expected a key id, azkey1...".to_owned())
}
