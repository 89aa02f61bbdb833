//! The command line of az-doctor.

use clap::ValueEnum;
use loader_model::ResourceName;
use loader_session::{ApiArgs, BindingArgs, CdnArgs};
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-doctor --credentials-file credentials.json --fragment-file device.frag images.enc
  az-doctor images.enc | jq -r '.checks[] | select(.status == \"fail\") | .message, .hint'
  az-doctor --only engine,space images.enc     # 78 where one of them has nothing to look at

A check whose setting is not named is skipped. It changes nothing: no folder is made, no image
is loaded, no resource is fetched.

Exit status: 0 where nothing failed, else that of the first check that failed: 65 the archive
is damaged, 66 a file is missing, 69 no engine, 74 no space, 75 the network failed, 77 login
refused, 78 permissions, clock, certificate or hardware, 79 another key or other hardware.";

/// Say before a rollout what an unlock would stumble over on this device
#[derive(Debug, clap::Parser)]
#[command(name = "az-doctor", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed archive that is to be unlocked
    #[arg(value_name = "ARCHIVE", env = "AZ_ARCHIVE", hide_env = true)]
    pub(crate) archive: Option<PathBuf>,

    /// Make these checks alone, with commas between; each must have what it looks at
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', conflicts_with = "skip")]
    pub(crate) only: Vec<Name>,

    /// Leave these checks out
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub(crate) skip: Vec<Name>,

    /// The device's fragment of the key
    #[arg(long, value_name = "PATH", env = "AZ_FRAGMENT_FILE")]
    pub(crate) fragment_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

    /// Enrolment card of az-hwid that this hardware must match
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,

    /// Socket of the engine
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST")]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) cdn: CdnArgs,

    /// Resource whose big part must be on the CDN
    #[arg(long, value_name = "NAME")]
    pub(crate) resource: Option<ResourceName>,

    /// Cache of az-fetch
    #[arg(long, value_name = "DIR", env = "AZ_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Folder for the event lines of a run [default: AZ_RUN_DIR, else that of az-unlock]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) api: ApiArgs,

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

impl Cli {
    /// True where the check is wanted.
    pub(crate) fn wants(&self, name: Name) -> bool {
        if self.only.is_empty() { !self.skip.contains(&name) } else { self.only.contains(&name) }
    }
}

/// A check, in the order in which they are made: what lies on the device first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    Clock,
    Credentials,
    Fragment,
    Key,
    DeviceSecret,
    Hardware,
    Card,
    Archive,
    ArchiveKey,
    Engine,
    Space,
    RunDir,
    Cache,
    Api,
    Login,
    Cdn,
    CacheEntries,
}

impl Name {
    /// The name on the command line and in the report.
    pub(crate) fn to_text(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}
