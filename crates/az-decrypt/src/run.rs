//! What az-decrypt does.

use crate::cli::Cli;
use loader_seal::rekey::Journal;
use loader_seal::{Error, FirstReading, Header, Key, PlainCtr, Sink, Unlocked};
use loader_stage::{Content, ErrorCode, Failure, Input, OrFail, Output, Stage};
use std::io::{self, Seek, SeekFrom};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let keys = [Key::parse(&stage.secret_text(cli.key.source())?).or_fail("the key", code)?];
    if cli.verify_only {
        stage.begin();
        return Ok(verify(cli, &mut input, &keys, &mut stage.progress().count(io::sink()))?);
    }
    let mut output = stage.output(&cli.output, Content::Binary)?;
    stage.begin();
    if cli.plain_ctr {
        plain_ctr(cli, stage, &keys[0], &mut input, &mut output)?;
    } else {
        if cli.verify_first {
            stage.step("verify", &[]);
            verify_and_rewind(cli, &mut input, &keys)?;
        }
        sealed(cli, stage, &keys, &mut input, &mut output)?;
    }
    output.commit()?;
    Ok(())
}

/// Opens the whole stream and gives its plaintext to `sink`, which leaves it nowhere.
fn verify(cli: &Cli, input: &mut Input, keys: &[Key], sink: &mut (impl Sink + Send)) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let unlocked = unlock(input, keys)?;
    let opened = unlocked.open(&mut input.polled(), sink, loader_stage::thread_count(cli.threads));
    opened.map(drop).map_err(|error| explain(error, &place, &place, 0))
}

fn verify_and_rewind(cli: &Cli, input: &mut Input, keys: &[Key]) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --verify-first needs a regular file"))
            .hint("it is read twice, so that nothing leaves before everything was checked".to_owned()));
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
            .or_fail(&place, code)
            .map_err(|failure| failure.hint(Journal::interrupted(input.path()))),
    }
}

fn sealed(cli: &Cli, stage: &Stage, keys: &[Key], input: &mut Input, output: &mut Output) -> Result<(), Failure> {
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
    outcome.map_err(|error| explain(error, &place, &target, released(stage, to_file)))
}

/// Bytes that have left for good; a file that does not appear has released nothing.
fn released(stage: &Stage, to_file: bool) -> u64 {
    if to_file { 0 } else { stage.progress().done().unwrap_or(0) }
}

fn extent(released: u64) -> String {
    if released == 0 { String::new() } else { format!(" after byte {released}") }
}

/// The failure of a stream, with how much of it was released before.
fn explain(error: Error, place: &str, target: &str, released: u64) -> Failure {
    let class = code(&error);
    match error {
        Error::Corrupt { .. } | Error::Truncated { .. } | Error::Trailing { .. } | Error::LengthMismatch { .. } => {
            let extent = extent(released);
            Failure::new(class, format_args!("{place}: {error}; nothing{extent} was released"))
                .hint("copy the file again, or compare it with the publisher's digest".to_owned())
        }
        other => at_either_end(other, place, target),
    }
}

/// The failure at the output where writing failed, else at the input.
fn at_either_end(error: Error, place: &str, target: &str) -> Failure {
    match error {
        Error::Write(cause) => Failure::io(target, &cause),
        Error::Read(cause) => Failure::io(place, &cause),
        other => Failure::new(code(&other), format_args!("{place}: {other}")),
    }
}

fn plain_ctr(cli: &Cli, stage: &Stage, key: &Key, input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: io::Error| Failure::io(&place, &error);
    stage.step("plain-ctr", &[("authenticated", cli.sha256.is_some().into())]);
    let (target, to_file) = (output.name().to_owned(), output.is_file());
    let opener = PlainCtr::new(key);
    let Some(promised) = cli.sha256 else {
        let opened = opener.open(input, stage.progress().count(output));
        return opened.map(drop).map_err(|error| at_either_end(error, &place, &target));
    };
    if !input.is_seekable() {
        return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --sha256 needs a regular file"))
            .hint("it is read twice, so that nothing leaves before the digest was checked".to_owned()));
    }
    let start = input.file().stream_position().map_err(io)?;
    let len = input.known_len().unwrap_or(0);
    let first = FirstReading::of(&mut *input, len).or_fail(&place, code)?;
    if first.sha256() != promised {
        let what = format_args!("{place}: not the digest of --sha256; nothing was released");
        return Err(Failure::new(ErrorCode::DigestMismatch, what));
    }
    input.file().seek(SeekFrom::Start(start)).map_err(io)?;
    let mut again = first.again(input);
    let opened = opener.open(&mut again, stage.progress().count(output));
    opened.map(drop).map_err(|error| match error {
        Error::Read(_) if again.is_changed() => {
            let extent = extent(released(stage, to_file));
            let what = format_args!("{place}: changed while it was read; nothing{extent} was released");
            Failure::new(ErrorCode::Changed, what).hint("see who writes to it, then try again".to_owned())
        }
        other => at_either_end(other, &place, &target),
    })
}

fn code(error: &Error) -> ErrorCode {
    ErrorCode::from_name(error.code())
}
