//! The command line of az-split.

use loader_model::ResourceName;
use loader_seal::fragment::Scheme;
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-split --output-dir . < key        # fragment-1-of-2.frag for the server, 2 for the device
  az-join old-*.frag | az-split --set-card card.json -d new    # cut again, as a set of its own
  az-split --scheme shamir -k 3 -n 5 --key-file key -d shares --set-card card.json
  az-encrypt --key-file key yolo.onnx | az-split --parts yolo > receipt.json";

/// Cut a key into fragments that alone say nothing, or a sealed file into two parts
#[derive(Debug, clap::Parser)]
#[command(name = "az-split", version, after_help = EXAMPLES)]
// A key that a setting names for all filters must not be cut in the place of the one that is piped in.
#[command(mut_arg("key_file", |arg| arg.env(None)))]
#[command(mut_arg("force", |arg| arg.help("Replace fragments and cards that exist; write fragments to a terminal")))]
pub(crate) struct Cli {
    /// Sealed file for --parts; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, requires = "parts")]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Cut a new random key instead of one that is given; az-join shows it
    #[arg(long)]
    pub(crate) new_key: bool,

    /// xor (all fragments give the key) or shamir (any K of them do)
    #[arg(long, value_name = "NAME", default_value = "xor", value_parser = parse_scheme)]
    pub(crate) scheme: Scheme,

    /// Fragments that give the key, 2 to 255 [default: all]
    #[arg(short = 'k', long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..))]
    pub(crate) threshold: Option<u8>,

    /// Fragments to make, 2 to 255
    #[arg(short = 'n', long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u8).range(2..))]
    pub(crate) shares: u8,

    /// Write the fragments to DIR/fragment-1-of-2.frag and so on instead
    #[arg(short = 'd', long, value_name = "DIR", conflicts_with = "output")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Write the set's card to FILE, by which az-join names a bad fragment
    #[arg(long, value_name = "FILE")]
    pub(crate) set_card: Option<PathBuf>,

    /// Cut a sealed file into NAME.small and NAME.big; print their receipt
    #[arg(long, value_name = "NAME", conflicts_with_all = ["new_key", "scheme", "threshold", "shares", "output_dir", "set_card"])]
    pub(crate) parts: Option<PathBuf>,

    /// Name of the resource, for the receipt of --parts
    #[arg(long, value_name = "FOLDER/NAME", requires = "parts")]
    pub(crate) name: Option<ResourceName>,

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

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    [Scheme::Xor, Scheme::Shamir]
        .into_iter()
        .find(|scheme| scheme.as_str() == text)
        .ok_or_else(|| "expected xor or shamir".to_owned())
}
