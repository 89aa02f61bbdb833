//! az-inspect: a sealed file or its head in, its header as JSON out.

mod report;

use loader_seal::{Header, Key};
use loader_stage::{Content, ErrorCode, Failure, KeyArgs, Loose, OrFail, OutputArgs, Stage, StageArgs, UnlockState};
use report::Report;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-inspect images.enc
  head -c 64K images.enc | az-inspect | jq .images
  az-inspect --key-file key images.enc      # checks the header too";

/// Show the header of a sealed file as JSON; without a key nothing in it is verified
#[derive(Debug, clap::Parser)]
#[command(name = "az-inspect", version, after_help = EXAMPLES)]
struct Cli {
    /// Sealed file or its first bytes; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    input: PathBuf,

    #[command(flatten)]
    key: KeyArgs,

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
    loader_stage::run(UnlockState::Idle, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let key = match cli.key.source().is_given() {
        true => Some(stage.secret_text(cli.key.source(), Loose::Warn)?),
        false => None,
    };
    let mut output = stage.output(&cli.output, Content::Text)?;
    let place = input.name().to_owned();
    let file_len = input.known_len();
    let code = |error: &loader_seal::Error| ErrorCode::from_name(error.code());
    let header = match Header::read(&mut input) {
        Err(error) if error.is_empty_input() && !input.is_seekable() => {
            return Err(Failure::no_input("sealed stream", &place).into());
        }
        header => header.or_fail(&place, code)?,
    };
    let report = match key {
        Some(line) => {
            let key = Key::parse(&line).or_fail("the key", code)?;
            let unlocked = header.unlock(&[key]).or_fail(&place, code)?;
            Report::new(unlocked.header(), unlocked.metadata(), file_len, true)
        }
        None => {
            let metadata = header.unverified_metadata().or_fail(&place, code)?;
            Report::new(&header, &metadata, file_len, false)
        }
    };
    let mut line = serde_json::to_vec(&report)?;
    line.push(b'\n');
    output.put(&line)?;
    output.commit()?;
    Ok(())
}
