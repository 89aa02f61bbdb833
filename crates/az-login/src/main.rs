//! az-login: reads credentials from a file, a descriptor or a prompt, and writes a JWT and a newline.

use loader_session::{ApiArgs, ReportRetry};
use loader_stage::{
    Content, CredentialsArgs, ErrorCode, Failure, OrFail, OutputArgs, Stage, StageArgs, StageName, UnlockState,
};
use zeroize::Zeroizing;

const EXAMPLES: &str = "\
Examples:
  az-login --api-url https://api.example --credentials-file creds.json -o jwt
  az-login | az-fetch key-fragment | az-join - device.frag -o key
  az-login | az-whoami";

/// Log in and print the token (JWT); asks for credentials on the terminal if none are given
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    credentials: CredentialsArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ApiArgs,

    #[command(flatten)]
    stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Login, UnlockState::Authenticating, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let notify = |notice: &_| stage.report_retry(notice);
    let client = cli.api.client(stage, &notify)?;
    let mut output = stage.output(&cli.output, Content::Secret)?;
    let credentials = match stage.credentials(&cli.credentials)? {
        Some(credentials) => Some(credentials),
        None => stage.ask_credentials()?,
    };
    let credentials = credentials.ok_or_else(|| {
        Failure::new(ErrorCode::Config, "no credentials given, and no terminal to ask for them")
            .hint("use --credentials-file PATH, --credentials-fd N or AZ_CREDENTIALS_FILE".to_owned())
    })?;
    stage.begin();
    let token = client.login(&credentials).or_fail()?;
    output.put(Zeroizing::new([token.as_bytes(), b"\n"].concat()).as_slice())?;
    output.commit()?;
    Ok(())
}
