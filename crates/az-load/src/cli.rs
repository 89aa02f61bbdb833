//! The command line of az-load.

use loader_stage::{OutputArgs, StageArgs};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-decrypt --key-file key images.enc | az-load
  az-load --expect-images sealed.json -- az-decrypt --key-file key images.enc
  az-inspect images.enc | az-load --present || ./fetch-and-load

Before the engine is given what names the images, everything has to be right: the archive is complete, every layer and
config has its SHA-256, and the stage before ended well. How that stage ended is known where it runs as COMMAND, or from
AZ_RUN_DIR with AZ_RUN; else an event says \"upstream\":\"unknown\". Until then the engine tags nothing.

Exit status: 65 the archive is damaged or not what was sealed; 66 with --present: an image is not there; 69 no engine, or
it went away; 74 its disk is full; 75 the stage before was killed; 76 the engine refused, or the images are not there
afterwards; where the stage before failed, the status of that failure.";

/// Load an archive of images into the container engine: all of it or nothing
#[derive(Debug, clap::Parser)]
#[command(name = "az-load", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Archive as docker save or podman save writes it, plain or gzip; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) input: PathBuf,

    /// Run this command, read the archive from its output and look at its exit status
    #[arg(value_name = "COMMAND", last = true, conflicts_with_all = ["input", "present"])]
    pub(crate) producer: Vec<OsString>,

    /// Stage whose final line in AZ_RUN_DIR must be ready [default: az-decrypt, where it took part in the run]
    #[arg(long, value_name = "STAGE", value_parser = parse_stage, conflicts_with_all = ["producer", "present"])]
    pub(crate) after: Option<String>,

    /// What az-inspect printed: the archive must hold just these images, with these ids, tags and layers
    #[arg(long, value_name = "FILE")]
    pub(crate) expect_images: Option<PathBuf>,

    /// Do not send layers that the engine has already (Docker's own store; elsewhere everything is sent)
    #[arg(long, requires = "expect_images", conflicts_with = "command")]
    pub(crate) skip_present_layers: bool,

    /// Load nothing: read what az-inspect printed from FILE, and succeed where the engine has all of its images
    #[arg(long, conflicts_with_all = ["expect_images", "command"])]
    pub(crate) present: bool,

    /// Socket of the engine
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST")]
    pub(crate) host: Option<String>,

    /// Pipe into this command, such as 'podman load', instead of a socket; nobody can say then what it tagged
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

/// A stage names a file in the folder of the run.
fn parse_stage(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => Err("expected the name of a stage, such as az-decrypt".to_owned()),
    }
}
