//! Command line of az-diff.

use loader_pack::LEVELS;
use loader_release::KeyListArgs;
use loader_stage::{OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-diff --key-file key images-6.enc images-7.enc -o 6-to-7.patch
  az-diff --key-file key old.enc new.enc | az-push --token-file jwt --cdn-file upload.json images/7.patch

The patch is sealed like any other file, for all given keys. az-patch applies it to OLD, however
OLD is compressed or sealed.";

/// Make a patch that changes one release into another one
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed file that the devices have
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// Sealed file of the new release
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    #[command(flatten)]
    pub(crate) keys: KeyListArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Level of compression, 1 to 19: a higher one is slower and makes a smaller patch
    #[arg(long, value_name = "N", default_value_t = loader_pack::DEFAULT_LEVEL, value_parser = parse_level)]
    pub(crate) level: i32,

    /// Number of threads [default: number of cores, at most 4]
    #[arg(long, value_name = "N", env = "AZ_THREADS", hide_env = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,

    #[command(flatten)]
    pub(crate) stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn parse_level(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| LEVELS.contains(level));
    level.ok_or_else(|| format!("expected a number from {} to {}", LEVELS.start(), LEVELS.end()))
}
