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
  az-fetch --from stick models/yolo.onnx -o yolo.enc     (there: same user, that hardware)";

/// Fetch a resource, whole and checked: small part from the API, big part from the cache or the CDN
#[derive(Debug, clap::Parser)]
#[command(name = "az-fetch", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// folder/name of a resource, or key-fragment, or list, or list FOLDER (JSON lines)
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<Name>,

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

    /// Parts to write: small, big, whole, published
    #[arg(long, value_name = "PART", value_enum, hide_possible_values = true, default_value_t = Wanted::Whole)]
    pub(crate) part: Wanted,

    /// Ranges asked for at once; 1 is one request [default: 6 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: Option<u8>,

    /// Length of a range, such as 512K [default: 256K to 2M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) chunk: Option<u64>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write each to DIR/NAME; print a line of JSON about it
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Put all into DIR, sealed, for --from where no network is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "output_dir", "offline", "part", "from"])]
    pub(crate) export: Option<PathBuf>,

    /// Use what --export put into DIR, without token and network
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
    /// Refuses names that do not go together.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let usage =
            |what: &str, hint: Option<&str>| Err(Failure::new(ErrorCode::Usage, what).hint(hint.map(str::to_owned)));
        let folder = self.output_dir.is_some() || self.export.is_some();
        match self.names.as_slice() {
            [Name::List] | [Name::List, Name::Resource(_)] if folder || self.is_offline() => {
                usage("a list comes from the API, to standard output or --output", None)
            }
            [Name::List] | [Name::List, Name::Resource(_)] => Ok(()),
            names if names.iter().any(|name| matches!(name, Name::List)) => {
                usage("list stands first, with one folder behind it at most", None)
            }
            names if self.export.is_none() && names.iter().any(|name| matches!(name, Name::KeyFragment)) => match names
            {
                [_] if self.output_dir.is_none() && self.offline && self.from.is_none() => {
                    usage("the fragment is never in the cache", Some("use --export and --from"))
                }
                [_] if self.output_dir.is_none() => Ok(()),
                _ => usage("key-fragment is fetched alone, or with --export", Some("use -o FILE for it")),
            },
            [_, _, ..] if !folder => {
                usage("several names, and one output", Some("use --output-dir DIR, or a run for each"))
            }
            _ => Ok(()),
        }
    }

    /// The folder in which both parts are kept or found.
    pub(crate) fn kept_in(&self) -> Option<&Path> {
        self.from.as_deref().or(self.export.as_deref()).or(self.cache_dir.as_deref())
    }

    /// True where nothing may be asked of a server for a resource.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline || self.from.is_some()
    }

    /// True where a big part may have to come from the CDN.
    pub(crate) fn uses_cdn(&self) -> bool {
        let resource = self.names.iter().any(|name| matches!(name, Name::Resource(_)));
        let list = matches!(self.names.first(), Some(Name::List));
        resource && !list && !self.is_offline() && !self.part.is_small()
    }
}

/// Which parts of a resource are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wanted {
    Small,
    Big,
    Whole,
    Published,
}

impl Wanted {
    /// True where nothing is wanted of the CDN.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Self::Small | Self::Published)
    }
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
    type Err = ResourceNameError;

    fn from_str(text: &str) -> Result<Self, ResourceNameError> {
        match text {
            "key-fragment" => Ok(Self::KeyFragment),
            "list" => Ok(Self::List),
            name => name.parse().map(Self::Resource),
        }
    }
}
