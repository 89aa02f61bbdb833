//! The command line of az-push.

use loader_cdn::PART_LEN_MIN;
use loader_model::ResourceName;
use loader_session::{ApiArgs, CdnArgs, parse_size};
use loader_stage::{CredentialsArgs, Named, OutputArgs, StageArgs, StageName, TokenArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-cdn-creds --token-file jwt --uploader -o cdn.json
  az-encrypt --key-file key yolo.onnx | az-push --token-file jwt --cdn-file cdn.json models/yolo.onnx
  az-push --token-file jwt --cdn-file cdn.json --state-dir state --replace images/app.tar app.enc
  az-fetch --part published models/yolo.onnx < jwt | az-rekey --key-file old --add new --replace |
      az-push --token-file jwt --cdn-file cdn.json --small models/yolo.onnx
Another release of the name needs --replace (else status 73); the same one is not sent again.";

/// Publish a sealed stream: big part to the CDN, then small part with the receipt to the API
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// DIR/NAME of the resource
    #[arg(value_name = "NAME")]
    pub(crate) name: ResourceName,

    /// Sealed file; without it or with -, standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    #[command(flatten)]
    pub(crate) credentials: CredentialsArgs,

    #[command(flatten)]
    pub(crate) cdn: CdnArgs,

    /// Replace only the small part by one that az-rekey changed
    #[arg(long, conflicts_with_all = ["replace", "release", "state_dir"])]
    pub(crate) small: bool,

    /// Replace another release of the same name
    #[arg(long)]
    pub(crate) replace: bool,

    /// Require release N in the header; replace an older release
    #[arg(long, value_name = "N")]
    pub(crate) release: Option<u64>,

    /// Stage in AZ_RUN_DIR that must succeed first [default: az-encrypt]
    #[arg(long, value_name = "STAGE", value_parser = loader_stage::parse_stage_name)]
    pub(crate) after: Option<Named<StageName>>,

    /// Record sent parts in DIR; resume if the file is the same
    #[arg(long, value_name = "DIR", env = "AZ_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Number of concurrent parts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,

    /// Length of a part, at least 5M; memory is N + 1 parts
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse_part)]
    pub(crate) part: u64,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) api: ApiArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn parse_part(text: &str) -> Result<u64, String> {
    let len = parse_size(text)?;
    if len < PART_LEN_MIN { Err("a store takes parts of at least 5M".to_owned()) } else { Ok(len) }
}
