//! The command line of az-load.

use loader_stage::{OutputArgs, StageArgs};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-decrypt --key-file key images.enc | az-load
  az-load --expect-images sealed.json -- az-decrypt --key-file key images.enc
  az-inspect images.enc | az-load --present || ./fetch-and-load

Nothing is tagged before everything is right: the archive is complete, every layer and config
has its SHA-256, and the stage before ended well. How that stage ended is known where it runs
as COMMAND, or from AZ_RUN_DIR with AZ_RUN; else an event says \"upstream\":\"unknown\".

Exit status: 65 the archive is damaged or not what was sealed; 66 with --present, an image is
not there; 69 no engine, or it went away; 74 its disk is full; 75 the stage before was killed;
76 the engine refused; where the stage before failed, the status of its failure.";

/// Load an archive of images into the container engine: all of it or nothing
#[derive(Debug, clap::Parser)]
#[command(name = "az-load", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What docker save or podman save wrote, plain or gzip; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    /// Writes the archive; its exit status is part of the verdict
    #[arg(value_name = "COMMAND", last = true, conflicts_with_all = ["input", "present"])]
    pub(crate) producer: Vec<OsString>,

    /// Stage in AZ_RUN_DIR that must have ended well [default: az-decrypt]
    #[arg(long, value_name = "STAGE", value_parser = loader_stage::parse_stage, conflicts_with_all = ["producer", "present"])]
    pub(crate) after: Option<String>,

    /// Refuse an archive of other images than az-inspect printed in FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) expect_images: Option<PathBuf>,

    /// Do not send layers that Docker's own store has already
    #[arg(long, requires = "expect_images", conflicts_with = "command")]
    pub(crate) skip_present_layers: bool,

    /// Ask only: are the images there that az-inspect printed in FILE? 0 or 66
    #[arg(long, conflicts_with_all = ["expect_images", "command"])]
    pub(crate) present: bool,

    /// Socket of the engine
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST")]
    pub(crate) host: Option<String>,

    /// Pipe into this, such as 'podman load': no gate then
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,

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
