//! az-inspect prints the header of a sealed file as JSON.

mod packed;
mod parts;
mod report;

use loader_model::{PartsReceipt, json_line};
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
struct Cli {
    /// Sealed file, its first bytes, or its small part; - or no FILE is standard input
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
    loader_stage::run(StageName::Inspect, UnlockState::Idle, run)
}

fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let key = match cli.key.source().is_given() {
        true => Some(stage.secret_text(cli.key.source())?),
        false => None,
    };
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
            let packed = match parts.is_none() && input.is_from_start() {
                true => PackedReport::read(&unlocked, input.file()).or_fail_at(&place)?,
                false => PackedReport::default(),
            };
            if let Some(what) = packed.difference {
                let what = format_args!("{place}: the {what} in the header is not the one in the statement");
                return Err(Failure::new(ErrorCode::StatementMismatch, what).into());
            }
            HeaderReport::new(unlocked.header(), unlocked.metadata(), parts, file_len, Some(packed))
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
