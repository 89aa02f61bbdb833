//! Command line of az-patch.

use loader_pack::LEVELS;
use loader_release::{KeyListArgs, PolicyArgs};
use loader_stage::{OutputArgs, StageArgs};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-patch --key-file key images.enc < 6-to-7.patch          # in place
  az-patch --key-file key --seed images.enc 6-to-7.patch | az-load

In place, the file is replaced only after the whole new content was compared with the statement
of its publisher. Until then, and after every failure, it is the old file. Its new header has a
slot for each given key; a key that is not given no longer opens it.";

/// Change a release into another one with a patch from az-diff
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Sealed file to change in place; with --seed, the patch (- is standard input)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Patch; - is standard input
    #[arg(long, value_name = "PATH", default_value = "-", hide_default_value = true, conflicts_with = "seed")]
    pub(crate) patch: PathBuf,

    /// Leave OLD as it is, and write the content of the new release, not sealed
    #[arg(long, value_name = "OLD")]
    pub(crate) seed: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: KeyListArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Level of compression for the changed file, 1 to 19
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_level, conflicts_with = "seed")]
    pub(crate) level: i32,

    /// Number of threads [default: number of cores, at most 2]
    #[arg(long, value_name = "N", env = "AZ_THREADS", hide_env = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,

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

fn parse_level(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| LEVELS.contains(level));
    level.ok_or_else(|| format!("expected a number from {} to {}", LEVELS.start(), LEVELS.end()))
}
