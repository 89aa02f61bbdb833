//! The command line of az-cdn-creds.

use loader_model::ResourceName;
use loader_session::{ApiArgs, BindingArgs};
use loader_stage::{OutputArgs, StageArgs, TokenArgs};

const EXAMPLES: &str = "\
Examples:
  az-login | az-cdn-creds --hwid-file hwid -o cdn.json
  az-cdn-creds --token-file jwt --hwid-file hwid --uploader -o cdn-upload.json
  credential_process = az-cdn-creds --token-file /run/azaion/jwt --format aws   (in ~/.aws/config)";

/// Download the credentials of the CDN, which are sealed to the user's password and this device
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) token: TokenArgs,

    #[command(flatten)]
    pub(crate) binding: BindingArgs,

    /// Also print the keys with write permission
    #[arg(long)]
    pub(crate) uploader: bool,

    /// json for az-fetch and az-push; aws for tools with a credential_process
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Json)]
    pub(crate) format: Format,

    /// Name of the resource with the credentials
    #[arg(long, value_name = "NAME", env = "AZ_CDN_RESOURCE", hide_env = true, default_value = "cdn.yaml")]
    pub(crate) cdn_resource: ResourceName,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

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

/// Format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Json,
    Aws,
}
