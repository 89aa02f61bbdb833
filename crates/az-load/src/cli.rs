//! The command line of az-load.

use loader_archive::{Platform, Reference};
use loader_stage::{Named, OutputArgs, StageArgs, StageName};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-decrypt --key-file key images.enc | az-load
  az-load --expect-images sealed.json -- az-decrypt --key-file key images.enc
  az-inspect images.enc | az-load --present || ./fetch-and-load

The archive is read into a model, and a new archive with only the verified images is sent to
the engine. Nothing is tagged before the archive is complete, every layer and config has its
SHA-256, and the previous stage has ended well. How that stage ended is known if it runs as
COMMAND, or from AZ_RUN_DIR with AZ_RUN; otherwise an event contains \"upstream\":\"unknown\".
If the engine fails after that, the tags are put back.

Exit status: 65 the archive is damaged, cannot be loaded, or is not what was sealed; 66 with
--present, an image is not there; 69 no engine, or it disconnected; 74 its disk is full; 75 the
previous stage was killed; 76 the engine refused; the status of the previous stage if it failed.";

/// Load an archive of images into the container engine: all of it or nothing
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Docker or OCI archive, plain, gzip or zstd; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    /// Writes the archive; it must exit with 0
    #[arg(value_name = "COMMAND", last = true, conflicts_with_all = ["input", "present"])]
    pub(crate) producer: Vec<OsString>,

    /// Stage in AZ_RUN_DIR that must have succeeded [default: az-decrypt]
    #[arg(long, value_name = "STAGE", value_parser = loader_stage::parse_stage_name, conflicts_with_all = ["producer", "present"])]
    pub(crate) after: Option<Named<StageName>>,

    /// Refuse an archive whose images are not exactly those that az-inspect printed in FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) expect_images: Option<PathBuf>,

    /// Do not send layers that Docker's own store has already
    #[arg(long, requires = "expect_images", conflicts_with = "command")]
    pub(crate) skip_present_layers: bool,

    /// Load the image for this platform [default: that of the engine]
    #[arg(long, value_name = "OS/ARCH", value_parser = Platform::parse, conflicts_with = "present")]
    pub(crate) platform: Option<Platform>,

    /// Load the images for all platforms; only the containerd image store keeps them
    #[arg(long, conflicts_with_all = ["platform", "present"])]
    pub(crate) all_platforms: bool,

    /// Also give the only image of the archive this name; repeatable
    #[arg(long, value_name = "NAME", value_parser = Reference::parse, conflicts_with = "present")]
    pub(crate) tag: Vec<Reference>,

    /// Only check that the images that az-inspect printed in FILE are loaded and usable: 0 or 66
    #[arg(long, conflicts_with_all = ["expect_images", "command"])]
    pub(crate) present: bool,

    /// Socket of the engine
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST")]
    pub(crate) host: Option<String>,

    /// Write the archive to this command instead, such as 'ctr -n k8s.io images import -'
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
