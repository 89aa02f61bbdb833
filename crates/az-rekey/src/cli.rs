//! The command line of az-rekey.

use loader_seal::KeyId;
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  az-rekey --key-file old.key --add new.key --replace images.enc   # rotation writes 400 bytes
  az-rekey --key-file a.key --add b.key < images.enc > both.enc
  cat receipt.json yolo.small | az-rekey --key-file a.key --add b.key > yolo.published

The big part and its ETag stay. Who had a dropped key and kept the old header can still open the
content: seal it again to take that away.";

/// Add, drop or replace the keys of a sealed file by rewriting its header alone
#[derive(Debug, clap::Parser)]
#[command(name = "az-rekey", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed file or small part, changed in place without -o; - or nothing is a pipe
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Key line that shall open it too; repeatable
    #[arg(long, value_name = "PATH", required_unless_present_any = ["drop", "recover"])]
    pub(crate) add: Vec<PathBuf>,

    /// Id of a key that shall not open it any more; repeatable
    #[arg(long, value_name = "AZKEY1...", value_parser = parse_key_id)]
    pub(crate) drop: Vec<KeyId>,

    /// Drop the key of --key-file, for those of --add
    #[arg(long, requires = "add")]
    pub(crate) replace: bool,

    /// Only put right what a loss of power left; every run in place does so first
    #[arg(long, conflicts_with_all = ["add", "drop", "replace", "output"])]
    pub(crate) recover: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl Cli {
    /// The file to change in place; `None` for a pipe.
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
