//! The command line of az-fetch.

use loader_model::{NameError, ResourceName};
use loader_session::{ApiArgs, BindingArgs, CdnArgs, parse_size};
use loader_stage::{OutputArgs, StageArgs, TokenArgs};
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  az-login | az-fetch key-fragment | az-join - device.frag > key
  az-fetch --token-file jwt --cdn-file cdn.json models/yolo.onnx | az-decrypt --key-file key > yolo
  az-login | az-fetch --cache-dir cache --cdn-file cdn.json models/yolo.onnx -o yolo.enc";

/// Fetch a resource, whole and checked: small part from the API, big part from the cache or the CDN
#[derive(Debug, clap::Parser)]
#[command(name = "az-fetch", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// folder/name of a resource, or key-fragment, or list (JSON lines, one a resource)
    #[arg(value_name = "NAME")]
    pub(crate) name: Name,

    /// Folder to list
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<ResourceName>,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

    #[command(flatten)]
    pub(crate) cdn: CdnArgs,

    /// Keep both parts here, and use what is there
    #[arg(long, value_name = "DIR", env = "AZ_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Use what is in the cache and nothing else
    #[arg(long, requires = "cache_dir")]
    pub(crate) offline: bool,

    /// Which parts to write
    #[arg(long, value_name = "PART", value_enum, default_value_t = Wanted::Whole)]
    pub(crate) part: Wanted,

    // The defaults are those measured in the README of loader-cdn.
    /// Ranges asked for at the same time; 1 is one request for all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,

    /// Length of a range, such as 512K
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse_size)]
    pub(crate) chunk: u64,

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

/// Which parts of a resource are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wanted {
    Small,
    Big,
    Whole,
}

/// What to fetch.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// The server's fragment of the key.
    KeyFragment,
    /// The resources of a folder.
    List,
    /// A resource.
    Resource(ResourceName),
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "key-fragment" => Ok(Self::KeyFragment),
            "list" => Ok(Self::List),
            name => name.parse().map(Self::Resource),
        }
    }
}
