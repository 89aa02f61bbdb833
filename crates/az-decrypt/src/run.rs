//! Implementation of az-decrypt.

use crate::cli::Cli;
use crate::sealed::{self, released};
use loader_model::Description;
use loader_release::{OpenError, after_byte};
use loader_seal::{DigestPass, Error, Key, PlainCtr};
use loader_stage::{Content, ErrorCode, Failure, Input, OrFail, Output, Stage, Step};
use std::io::{self, Seek, SeekFrom};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let keys = [Key::parse(&stage.secret_text(cli.key.source())?).or_fail_at("the key")?];
    let policy = cli.policy.read(stage)?;
    if cli.verify_only {
        stage.begin();
        sealed::verify(cli, stage, &keys, &policy, &mut input)?.report(stage);
        return Ok(());
    }
    let mut output = stage.output(&cli.output, Content::Binary)?;
    if !policy.publisher_keys().is_empty()
        && !input.is_from_start()
        && !output.is_file()
        && !loader_stage::has_run_dir()
    {
        let what = format_args!("{}: in a pipe, the signatures come after the content", input.name());
        return Err(Failure::new(ErrorCode::Usage, what)
            .hint(
                "open a regular file, write with -o, or run the pipeline under az-status, so that az-load waits"
                    .to_owned(),
            )
            .into());
    }
    stage.begin();
    let accepted = if cli.plain_ctr {
        let refused = |refusal| OpenError::from(refusal).into_failure(input.name(), input.name(), Some(0));
        let accepted = policy.check_without_statement(&Description::default()).map_err(refused)?;
        open_plain_ctr(cli, stage, &keys[0], &mut input, &mut output)?;
        accepted
    } else {
        if cli.verify_first {
            stage.step(Step::Verify, &[]);
            sealed::verify_and_rewind(cli, &keys, &policy, &mut input)?;
        }
        sealed::open(cli, stage, &keys, &policy, &mut input, &mut output)?
    };
    accepted.report(stage);
    output.commit()?;
    if let Some(records) = policy.records().filter(|_| cli.range.is_none()) {
        records.propose(stage, &accepted)?;
    }
    Ok(())
}

/// Returns a failure of the output if writing failed, otherwise of the input.
fn input_or_output_failure(error: Error, place: &str, target: &str) -> Failure {
    match error {
        Error::Write(cause) => Failure::io(target, &cause),
        Error::Read(cause) => Failure::io(place, &cause),
        other => Failure::at(place, &other),
    }
}

fn open_plain_ctr(cli: &Cli, stage: &Stage, key: &Key, input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    stage.step(Step::PlainCtr, &[("authenticated", cli.sha256.is_some().into())]);
    let (target, to_file) = (output.name().to_owned(), output.is_file());
    let opener = PlainCtr::new(key);
    let Some(expected) = cli.sha256 else {
        let opened = opener.open(input, stage.progress().count(output));
        return opened.map(drop).map_err(|error| input_or_output_failure(error, &place, &target));
    };
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --sha256 needs a regular file"))
            .hint("the file is read twice, to verify its digest before anything is written".to_owned()));
    }
    let start = input.file().stream_position().map_err(io)?;
    let len = input.known_len().unwrap_or(0);
    let digest_pass = DigestPass::read(&mut *input, len).or_fail_at(&place)?;
    if digest_pass.sha256() != expected {
        let what = format_args!("{place}: the digest does not match --sha256; nothing was released");
        return Err(Failure::new(ErrorCode::DigestMismatch, what));
    }
    input.file().seek(SeekFrom::Start(start)).map_err(io)?;
    let mut reader = digest_pass.reread(input);
    let opened = opener.open(&mut reader, stage.progress().count(output));
    opened.map(drop).map_err(|error| match error {
        Error::Read(_) if reader.is_changed() => {
            let after_byte = after_byte(released(stage, to_file));
            let what = format_args!("{place}: changed while it was read; nothing{after_byte} was released");
            Failure::new(ErrorCode::Changed, what).hint("stop the process that writes to it, then try again".to_owned())
        }
        other => input_or_output_failure(other, &place, &target),
    })
}
