//! The command line of az-fetch.

use loader_model::{ResourceName, ResourceNameError};
use loader_session::{ApiArgs, BindingArgs, CdnArgs, parse_size};
use loader_stage::{ErrorCode, Failure, OutputArgs, StageArgs, TokenArgs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  az-login | az-fetch key-fragment | az-join - device.frag -o key
  az-fetch --token-file jwt --cdn-file cdn.json models/yolo.onnx | az-decrypt --key-file key > yolo
  az-fetch --token-file jwt --cdn-file cdn.json --hwid-file hwid --export stick models/yolo.onnx
  az-fetch --from stick models/yolo.onnx -o yolo.enc     (offline: same user and hardware)";

/// Fetch a resource, complete and verified: small part from the API, big part from cache or CDN
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// DIR/NAME of a resource; or key-fragment; or list, with a DIR or without (JSON lines)
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<RequestedName>,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

    #[command(flatten)]
    pub(crate) cdn: CdnArgs,

    /// Store both parts in DIR and reuse them
    #[arg(long, value_name = "DIR", env = "AZ_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Use only the cache, never the network
    #[arg(long, requires = "cache_dir")]
    pub(crate) offline: bool,

    /// Part to write: small, big, whole, published
    #[arg(long, value_name = "PART", value_enum, hide_possible_values = true, default_value_t = PartSelection::Whole)]
    pub(crate) part: PartSelection,

    /// Concurrent ranges; 1 uses a single request [default: 6 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: Option<u8>,

    /// Length of a range, such as 512K [default: 256K to 2M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) chunk: Option<u64>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write each resource to DIR/NAME and print a JSON line about it
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Export sealed parts to DIR for offline use with --from
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "output_dir", "offline", "part", "from"])]
    pub(crate) export: Option<PathBuf>,

    /// Read an export from DIR, without token and network
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,

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

impl Cli {
    /// Refuses names that cannot be combined.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let usage =
            |what: &str, hint: Option<&str>| Err(Failure::new(ErrorCode::Usage, what).hint(hint.map(str::to_owned)));
        let writes_dir = self.output_dir.is_some() || self.export.is_some();
        match self.names.as_slice() {
            [RequestedName::List] | [RequestedName::List, RequestedName::Resource(_)]
                if writes_dir || self.is_offline() =>
            {
                usage("list needs the API and writes to standard output or --output", None)
            }
            [RequestedName::List] | [RequestedName::List, RequestedName::Resource(_)] => Ok(()),
            names if names.iter().any(|name| matches!(name, RequestedName::List)) => {
                usage("list must be the first name, followed by at most one directory", None)
            }
            names if self.export.is_none() && names.iter().any(|name| matches!(name, RequestedName::KeyFragment)) => {
                match names {
                    [_] if self.output_dir.is_none() && self.offline && self.from.is_none() => {
                        usage("the key fragment is never cached", Some("use --export and --from"))
                    }
                    [_] if self.output_dir.is_none() => Ok(()),
                    _ => usage(
                        "key-fragment must be the only name, except with --export",
                        Some("fetch it in a run of its own, with -o FILE"),
                    ),
                }
            }
            [_, _, ..] if !writes_dir => {
                usage("several names cannot share one output", Some("use --output-dir DIR, or one run for each name"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the directory of the cache or export.
    pub(crate) fn part_dir(&self) -> Option<&Path> {
        self.from.as_deref().or(self.export.as_deref()).or(self.cache_dir.as_deref())
    }

    /// Returns true if a resource must not be requested from a server.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline || self.from.is_some()
    }

    /// Returns true if a big part may have to be read from the CDN.
    pub(crate) fn uses_cdn(&self) -> bool {
        let resource = self.names.iter().any(|name| matches!(name, RequestedName::Resource(_)));
        let list = matches!(self.names.first(), Some(RequestedName::List));
        resource && !list && !self.is_offline() && !self.part.is_small()
    }
}

/// Part of a resource to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PartSelection {
    Small,
    Big,
    Whole,
    Published,
}

impl PartSelection {
    /// Returns true if the big part is not written.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Self::Small | Self::Published)
    }
}

/// Name on the command line.
#[derive(Clone, Debug)]
pub(crate) enum RequestedName {
    /// Key fragment of the server.
    KeyFragment,
    /// List of the resources in a directory.
    List,
    /// Resource with this name.
    Resource(ResourceName),
}

impl FromStr for RequestedName {
    type Err = ResourceNameError;

    fn from_str(text: &str) -> Result<Self, ResourceNameError> {
        match text {
            "key-fragment" => Ok(Self::KeyFragment),
            "list" => Ok(Self::List),
            name => name.parse().map(Self::Resource),
        }
    }
}
