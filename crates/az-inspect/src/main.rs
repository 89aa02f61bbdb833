//! az-inspect prints the header of a sealed file as JSON.

mod packed;
mod parts;
mod report;

use loader_model::{PartsReceipt, json_line};
use loader_release::PolicyArgs;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Header, Key};
use loader_stage::{
    Content, ErrorCode, Failure, KeyArgs, OrFail, OutputArgs, Stage, StageArgs, StageName, UnlockState,
};
use packed::PackedReport;
use parts::PartsReport;
use report::HeaderReport;
use std::io::Read;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  az-inspect images.enc
  head -c 64K images.enc | az-inspect | jq .images
  az-inspect --key-file key images.enc      # also verifies the header
  cat receipt.json yolo.onnx.small | az-inspect | jq .parts";

/// Print the header of a sealed file as JSON; without a key, it is not verified
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
// The header can be printed without a key or with the wrong one in AZ_KEY_FILE, so the variable is ignored.
#[command(mut_arg("key_file", |arg| arg.env(None)))]
// For the same reason, only publisher options on the command line apply.
#[command(mut_args(|arg| if arg.get_help_heading() == Some(PolicyArgs::HEADING) { arg.env(None) } else { arg }))]
struct Cli {
    /// Sealed file, its first bytes, or its small part; - or no FILE is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    input: PathBuf,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    stage: StageArgs,
}

impl AsRef<StageArgs> for Cli {
    fn as_ref(&self) -> &StageArgs {
        &self.stage
    }
}

fn main() -> std::process::ExitCode {
    loader_stage::run(StageName::Inspect, UnlockState::Idle, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let key = match cli.key.source().is_given() {
        true => Some(stage.secret_text(cli.key.source())?),
        false => None,
    };
    let policy = cli.policy.read(stage)?;
    let mut output = stage.output(&cli.output, Content::Text)?;
    let place = input.name().to_owned();
    let (file_len, is_pipe) = (input.known_len(), !input.is_seekable());
    let mut head = Vec::with_capacity(PartsReceipt::LINE_MAX);
    let read = input.by_ref().take(PartsReceipt::LINE_MAX as u64).read_to_end(&mut head);
    read.map_err(|error| Failure::io(&place, &error))?;
    let (receipt, rest) = match PartsReceipt::split_prefix(&head) {
        None => (None, &head[..]),
        Some(Ok((receipt, rest))) => (Some(receipt), rest),
        Some(Err(_)) => {
            return Err(Failure::new(ErrorCode::Malformed, format_args!("{place}: the receipt is not valid")).into());
        }
    };
    let interrupted = HeaderJournal::recovery_hint(input.path());
    let mut sealed = rest.chain(&mut input);
    let header = match Header::read(&mut sealed) {
        Err(error) if error.is_empty_input() && is_pipe => {
            return Err(Failure::no_input("sealed stream", &place).into());
        }
        header => header.or_fail_at(&place)?,
    };
    let parts = PartsReport::read(receipt, &header, sealed, file_len).or_fail_at(&place)?;
    let report = match key {
        Some(line) => {
            let key = Key::parse(&line).or_fail_at("the key")?;
            let unlocked = header.unlock(&[key]).or_fail_at(&place);
            let unlocked = unlocked.map_err(|failure| failure.hint(interrupted))?;
            if let Some(parts) = &parts {
                parts.check(unlocked.header(), &place)?;
            }
            let is_file = parts.is_none() && input.is_from_start();
            let mut packed = match is_file {
                true => PackedReport::read(&unlocked, &policy, input.file()).or_fail_at(&place)?,
                false => PackedReport::default(),
            };
            if let Some(refusal) = packed.refusal.take() {
                return Err(refusal.into_failure(&place, output.name(), None).into());
            }
            if cli.policy.is_given() && (!is_file || packed.is_complete == Some(false)) {
                let what = format_args!("{place}: the publisher options need a complete regular file");
                return Err(Failure::new(ErrorCode::Usage, what).hint("the statement is at its end".to_owned()).into());
            }
            HeaderReport::new(unlocked.header(), unlocked.metadata(), parts, file_len, Some(packed))
        }
        None if cli.policy.is_given() => {
            return Err(Failure::new(
                ErrorCode::Usage,
                "the publisher options need --key-file, because the statement is sealed",
            )
            .into());
        }
        None => {
            let metadata = header.unverified_metadata().or_fail_at(&place)?;
            HeaderReport::new(&header, &metadata, parts, file_len, None)
        }
    };
    output.put(&json_line(&report)?)?;
    output.commit()?;
    Ok(())
}
