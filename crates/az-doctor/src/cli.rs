//! The command line of az-doctor.

use clap::ValueEnum;
use loader_model::ResourceName;
use loader_session::{ApiArgs, BindingArgs, CdnArgs};
use loader_stage::{KeyArgs, OutputArgs, StageArgs};
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  az-doctor --credentials-file credentials.json --fragment-file device.frag images.enc
  az-doctor images.enc | jq -r '.checks[] | select(.status == \"fail\") | .message, .hint'

It changes nothing. Exit status: 0, or that of the first check that failed (README)";

/// Say before a rollout what an unlock would stumble over on this device
#[derive(Debug, clap::Parser)]
#[command(name = "az-doctor", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed archive that is to be unlocked
    #[arg(value_name = "ARCHIVE", env = "AZ_ARCHIVE", hide_env = true)]
    pub(crate) archive: Option<PathBuf>,

    /// Make only these checks, comma-separated; each needs its setting
    #[arg(
        long,
        value_name = "NAMES",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        conflicts_with = "skip"
    )]
    pub(crate) only: Vec<Name>,

    /// Leave these checks out
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub(crate) skip: Vec<Name>,

    /// Only print the path that is set for archive or fragment-file
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true, conflicts_with_all = ["only", "skip"])]
    pub(crate) setting: Option<Setting>,

    /// The device's fragment of the key
    #[arg(long, value_name = "PATH", env = "AZ_FRAGMENT_FILE")]
    pub(crate) fragment_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

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

    /// Folder for event lines [default: AZ_RUN_DIR, or as az-unlock]
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
    /// The value of `setting`; `None` if nothing sets it.
    pub(crate) fn value_of(&self, setting: Setting) -> Option<&Path> {
        match setting {
            Setting::Archive => self.archive.as_deref(),
            Setting::FragmentFile => self.fragment_file.as_deref(),
        }
    }

    /// True where the check is wanted.
    pub(crate) fn wants(&self, name: Name) -> bool {
        if self.only.is_empty() { !self.skip.contains(&name) } else { self.only.contains(&name) }
    }
}

/// A setting that --setting prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Setting {
    Archive,
    FragmentFile,
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
