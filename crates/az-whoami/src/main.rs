//! az-whoami: reads a JWT and writes its user as one line of JSON.

use loader_model::json_line;
use loader_session::{VerifyArgs, read_token, user_from_token};
use loader_stage::{Content, ErrorCode, OrFailAs, OutputArgs, Stage, StageArgs, StageName, TokenArgs, UnlockState};

const EXAMPLES: &str = "\
Examples:
  az-login | az-whoami
  az-whoami --token-file jwt | jq -r .role
  az-whoami --token-file jwt --jwt-key-file server.pem";

/// Show the user of a token; verifies the signature only if a key of the server is given
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    verify: VerifyArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Whoami, UnlockState::Authenticating, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let verifier = cli.verify.read(stage)?;
    let token = read_token(stage, &cli.token)?;
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    let user = user_from_token(&token, verifier.as_ref())?;
    output.put(&json_line(&user).or_fail_as(ErrorCode::Bug, "user")?)?;
    output.commit()?;
    Ok(())
}
