//! The command line of az-doctor.

use clap::ValueEnum;
use loader_model::ResourceName;
use loader_release::PolicyArgs;
use loader_session::{ApiArgs, BindingArgs, CdnArgs};
use loader_stage::{Failure, KeyArgs, OutputArgs, Stage, StageArgs, Step};
use serde::Serialize;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-doctor --credentials-file credentials.json --fragment-file device.frag images.enc
  az-doctor images.enc | jq -r '.checks[] | select(.status == \"fail\") | .message, .hint'

az-doctor changes nothing. Exit status: 0, or that of the first failed check.";

/// Check whether this device is ready to unlock
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
// The other publisher options are in the help of az-decrypt.
#[command(mut_args(|arg| match arg.get_help_heading() {
    Some(PolicyArgs::HEADING) => { let is_shown = arg.get_id() == "publisher_key_file"; arg.help_heading(None).hide(!is_shown).hide_env(true) }
    _ => arg,
}))]
pub(crate) struct Cli {
    /// Sealed archive to unlock
    #[arg(value_name = "ARCHIVE", env = "AZ_ARCHIVE", hide_env = true)]
    pub(crate) archive: Option<PathBuf>,

    /// Run only these checks, comma-separated; each needs its setting
    #[arg(
        long,
        value_name = "NAMES",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        conflicts_with = "skip"
    )]
    pub(crate) only: Vec<CheckName>,

    /// Skip these checks, comma-separated
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub(crate) skip: Vec<CheckName>,

    /// Only print the setting archive, fragment-file or policy
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true, conflicts_with_all = ["only", "skip"])]
    pub(crate) setting: Option<Setting>,

    /// Fragment of this device [env: AZ_FRAGMENT_FILE=]
    #[arg(long, value_name = "PATH", env = "AZ_FRAGMENT_FILE", hide_env = true)]
    pub(crate) fragment_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

    /// Socket of the container engine
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST")]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) cdn: CdnArgs,

    /// Check that the big part of this resource is on the CDN
    #[arg(long, value_name = "NAME")]
    pub(crate) resource: Option<ResourceName>,

    /// Cache directory of az-fetch
    #[arg(long, value_name = "DIR", env = "AZ_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Run directory [default: AZ_RUN_DIR, else that of az-unlock]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) api: ApiArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

impl Cli {
    /// Returns the value of `setting`; `None` if it is not set.
    ///
    /// # Errors
    /// Those of [`PolicyArgs::read`].
    pub(crate) fn value_of(&self, setting: Setting, stage: &Stage) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        Ok(match setting {
            Setting::Archive => self.archive.as_ref().map(bytes),
            Setting::FragmentFile => self.fragment_file.as_ref().map(bytes),
            Setting::Policy => Some(self.policy.read(stage)?.summary().into_bytes()).filter(|line| !line.is_empty()),
        })
    }

    /// Returns true if the check is to be run.
    pub(crate) fn is_selected(&self, name: CheckName) -> bool {
        if self.only.is_empty() { !self.skip.contains(&name) } else { self.only.contains(&name) }
    }
}

/// Settings that --setting prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Setting {
    Archive,
    FragmentFile,
    Policy,
}

/// The checks, in the order in which they run: those of local files first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckName {
    Clock,
    Credentials,
    Fragment,
    Key,
    DeviceSecret,
    Hardware,
    Card,
    Archive,
    ArchiveKey,
    Publisher,
    Engine,
    Space,
    RunDir,
    Cache,
    Api,
    Login,
    Cdn,
    CacheEntries,
}

impl CheckName {
    /// Returns the step of the event, whose name is also that on the command line and in the report.
    pub(crate) fn step(self) -> Step {
        match self {
            Self::Clock => Step::Clock,
            Self::Credentials => Step::Credentials,
            Self::Fragment => Step::Fragment,
            Self::Key => Step::Key,
            Self::DeviceSecret => Step::DeviceSecret,
            Self::Hardware => Step::Hardware,
            Self::Card => Step::Card,
            Self::Archive => Step::Archive,
            Self::ArchiveKey => Step::ArchiveKey,
            Self::Publisher => Step::Publisher,
            Self::Engine => Step::Engine,
            Self::Space => Step::Space,
            Self::RunDir => Step::RunDir,
            Self::Cache => Step::Cache,
            Self::Api => Step::Api,
            Self::Login => Step::Login,
            Self::Cdn => Step::Cdn,
            Self::CacheEntries => Step::CacheEntries,
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_one_name() {
        for name in CheckName::value_variants() {
            assert_eq!(name.to_possible_value().unwrap().get_name(), name.step().as_str());
            assert_eq!(serde_json::to_value(name).unwrap(), name.step().as_str());
        }
    }
}
