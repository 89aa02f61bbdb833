//! Implementation of az-decrypt.

use crate::cli::Cli;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{DigestPass, Error, Header, Key, PlainCtr, Sink, Unlocked};
use loader_stage::{Content, ErrorCode, Failure, Input, OrFail, Output, Stage};
use std::io::{self, Seek, SeekFrom};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let keys = [Key::parse(&stage.secret_text(cli.key.source())?).or_fail("the key", Error::code)?];
    if cli.verify_only {
        stage.begin();
        return Ok(verify(cli, &mut input, &keys, &mut stage.progress().count(io::sink()))?);
    }
    let mut output = stage.output(&cli.output, Content::Binary)?;
    stage.begin();
    if cli.plain_ctr {
        open_plain_ctr(cli, stage, &keys[0], &mut input, &mut output)?;
    } else {
        if cli.verify_first {
            stage.step("verify", &[]);
            verify_and_rewind(cli, &mut input, &keys)?;
        }
        open_sealed(cli, stage, &keys, &mut input, &mut output)?;
    }
    output.commit()?;
    Ok(())
}

/// Opens the whole stream and writes its plaintext to `sink`, which discards it.
fn verify(cli: &Cli, input: &mut Input, keys: &[Key], sink: &mut (impl Sink + Send)) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let unlocked = unlock(input, keys)?;
    let opened = unlocked.open(&mut input.polled(), sink, loader_stage::thread_count(cli.threads));
    opened.map(drop).map_err(|error| stream_failure(error, &place, &place, 0))
}

fn verify_and_rewind(cli: &Cli, input: &mut Input, keys: &[Key]) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --verify-first needs a regular file"))
            .hint("the file is read twice, to verify all of it before anything is written".to_owned()));
    }
    let start = input.file().stream_position().map_err(io)?;
    verify(cli, input, keys, &mut io::sink())?;
    input.file().seek(SeekFrom::Start(start)).map(drop).map_err(io)
}

fn unlock(input: &mut Input, keys: &[Key]) -> Result<Unlocked, Failure> {
    let place = input.name().to_owned();
    match Header::read(input) {
        Err(error) if error.is_empty_input() && !input.is_seekable() => Err(Failure::no_input("sealed stream", &place)),
        header => header
            .and_then(|header| header.unlock(keys))
            .or_fail(&place, Error::code)
            .map_err(|failure| failure.hint(HeaderJournal::recovery_hint(input.path()))),
    }
}

fn open_sealed(cli: &Cli, stage: &Stage, keys: &[Key], input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let unlocked = unlock(input, keys)?;
    let threads = loader_stage::thread_count(cli.threads);
    let progress = stage.progress();
    let (target, to_file) = (output.name().to_owned(), output.is_file());
    let outcome = match cli.range {
        None => {
            if let Some(len) = unlocked.header().plaintext_len() {
                progress.set_total(len);
            }
            unlocked.open(&mut input.polled(), &mut progress.count(output), threads).map(drop)
        }
        Some(_) if !input.is_from_start() => {
            let what = if input.is_seekable() { "a file that is read from its start" } else { "a regular file" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --range needs {what}")));
        }
        Some(range) => {
            if let Some(len) = range.len {
                progress.set_total(len);
            }
            unlocked
                .open_range(&mut input.file(), &mut progress.count(output), range.offset, range.len, threads)
                .map(drop)
        }
    };
    outcome.map_err(|error| stream_failure(error, &place, &target, released(stage, to_file)))
}

/// Returns the number of released bytes. It is 0 for an output file, which is not created
/// on failure.
fn released(stage: &Stage, to_file: bool) -> u64 {
    if to_file { 0 } else { stage.progress().done().unwrap_or(0) }
}

fn after_byte(released: u64) -> String {
    if released == 0 { String::new() } else { format!(" after byte {released}") }
}

/// Returns the failure of a stream, with the number of bytes that were released before.
fn stream_failure(error: Error, place: &str, target: &str, released: u64) -> Failure {
    let class = error.code();
    match error {
        Error::Corrupt { .. } | Error::Truncated { .. } | Error::Trailing { .. } | Error::LengthMismatch { .. } => {
            let after_byte = after_byte(released);
            Failure::new(class, format_args!("{place}: {error}; nothing{after_byte} was released"))
                .hint("copy the file again, or compare it with the publisher's digest".to_owned())
        }
        other => input_or_output_failure(other, place, target),
    }
}

/// Returns a failure of the output if writing failed, otherwise of the input.
fn input_or_output_failure(error: Error, place: &str, target: &str) -> Failure {
    match error {
        Error::Write(cause) => Failure::io(target, &cause),
        Error::Read(cause) => Failure::io(place, &cause),
        other => Failure::new(other.code(), format_args!("{place}: {other}")),
    }
}

fn open_plain_ctr(cli: &Cli, stage: &Stage, key: &Key, input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    stage.step("plain-ctr", &[("authenticated", cli.sha256.is_some().into())]);
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
    let digest_pass = DigestPass::read(&mut *input, len).or_fail(&place, Error::code)?;
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
