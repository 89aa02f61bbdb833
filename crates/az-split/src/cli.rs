//! Command line of az-split.

use loader_model::ResourceName;
use loader_seal::fragment::Scheme;
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-split --output-dir . < key        # fragment-1-of-2.frag for the server, 2 for the device
  az-join old-*.frag | az-split --set-card card.json -d new    # split again, into a new set
  az-split --scheme shamir -k 3 -n 5 --key-file key -d shares --set-card card.json
  az-encrypt --key-file key yolo.onnx | az-split --parts yolo > receipt.json";

/// Split a key into fragments, or a sealed file into two parts
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
// AZ_KEY_FILE, which is set for all filters, must not override a key on standard input.
#[command(mut_arg("key_file", |arg| arg.env(None)))]
#[command(mut_arg("force", |arg| arg.help("Replace fragments and cards that exist; write fragments to a terminal")))]
pub(crate) struct Cli {
    /// Sealed file for --parts; - or no FILE is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, requires = "parts")]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Generate a key and split it; az-join prints it
    #[arg(long)]
    pub(crate) new_key: bool,

    /// xor (needs all fragments) or shamir (needs any K)
    #[arg(long, value_name = "NAME", default_value = "xor", value_parser = parse_scheme)]
    pub(crate) scheme: Scheme,

    /// Fragments needed to join the key, 2 to 255 [default: all]
    #[arg(short = 'k', long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..))]
    pub(crate) threshold: Option<u8>,

    /// Number of fragments, 2 to 255
    #[arg(short = 'n', long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u8).range(2..))]
    pub(crate) shares: u8,

    /// Write each fragment to a file, DIR/fragment-1-of-2.frag and so on
    #[arg(short = 'd', long, value_name = "DIR", conflicts_with = "output")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Write a set card to FILE; az-join uses it to identify bad fragments
    #[arg(long, value_name = "FILE")]
    pub(crate) set_card: Option<PathBuf>,

    /// Split a sealed file into NAME.small and NAME.big; print receipt
    #[arg(long, value_name = "NAME", conflicts_with_all = ["new_key", "scheme", "threshold", "shares", "output_dir", "set_card"])]
    pub(crate) parts: Option<PathBuf>,

    /// Name of the resource for the receipt of --parts
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
