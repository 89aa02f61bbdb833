//! az-whoami: a JWT in, the User as one line of JSON out.

use loader_model::json_line;
use loader_session::{VerifyArgs, read_token, user_of};
use loader_stage::{Content, ErrorCode, OrFail, OutputArgs, Stage, StageArgs, TokenArgs, UnlockState};

const EXAMPLES: &str = "\
Examples:
  az-login | az-whoami
  az-whoami --token-file jwt | jq -r .role
  az-whoami --token-file jwt --jwt-key-file server.pem";

/// Show who a token is for; it is verified only where a key of the server is named
#[derive(Debug, clap::Parser)]
#[command(name = "az-whoami", version, after_help = EXAMPLES)]
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
    loader_stage::run(UnlockState::Authenticating, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let verifier = cli.verify.read(stage)?;
    let token = read_token(stage, &cli.token)?;
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    let user = user_of(&token, verifier.as_ref())?;
    output.put(&json_line(&user).or_fail("user", |_| ErrorCode::Bug)?)?;
    output.commit()?;
    Ok(())
}
