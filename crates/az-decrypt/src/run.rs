//! What az-decrypt does.

use crate::cli::Cli;
use loader_seal::{Error, Hashed, Header, Key, PlainCtr, sha256_of};
use loader_stage::{Content, ErrorCode, Failure, Input, Loose, OrFail, Output, Stage};
use std::io::{Seek, SeekFrom};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let key = Key::parse(&stage.secret_text(cli.key.source(), Loose::Warn)?).or_fail("the key", code)?;
    let mut output = stage.output(&cli.output, Content::Binary)?;
    stage.begin();
    if cli.plain_ctr {
        plain_ctr(cli, stage, &key, &mut input, &mut output)?;
    } else {
        sealed(cli, stage, key, &mut input, &mut output)?;
    }
    output.commit()?;
    Ok(())
}

fn sealed(cli: &Cli, stage: &Stage, key: Key, input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let unlocked = Header::read(input).and_then(|header| header.unlock(&[key])).or_fail(&place, code)?;
    let threads = loader_stage::threads(cli.threads);
    let progress = stage.progress();
    let outcome = match cli.range {
        None => {
            if let Some(len) = unlocked.header().plaintext_len() {
                progress.set_total(len);
            }
            unlocked.open(input, &mut progress.count(output), threads).map(drop)
        }
        Some(_) if !input.is_seekable() => {
            return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --range needs a regular file")));
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
    outcome.map_err(|error| explain(error, &place, stage))
}

/// The failure of a stream, with what was released before it.
fn explain(error: Error, place: &str, stage: &Stage) -> Failure {
    let class = code(&error);
    let released = stage.progress().done().unwrap_or(0);
    match error {
        Error::Corrupt { .. } | Error::Truncated { .. } | Error::Trailing { .. } | Error::LengthMismatch { .. } => {
            Failure::new(class, format_args!("{place}: {error}; nothing after byte {released} was released"))
                .hint("copy the file again, or compare it with the publisher's digest".to_owned())
        }
        other => Err::<(), _>(other).or_fail(place, code).err().unwrap_or_else(|| Failure::new(class, place)),
    }
}

fn plain_ctr(cli: &Cli, stage: &Stage, key: &Key, input: &mut Input, output: &mut Output) -> Result<(), Failure> {
    let place = input.name().to_owned();
    let io = |error: std::io::Error| Failure::io(&place, &error);
    stage.step("plain-ctr", &[("authenticated", cli.sha256.is_some().into())]);
    if let Some(promised) = cli.sha256 {
        if !input.is_seekable() {
            return Err(Failure::new(ErrorCode::Usage, format_args!("{place}: --sha256 needs a regular file"))
                .hint("it is read twice, so that nothing leaves before the digest was checked".to_owned()));
        }
        let start = input.file().stream_position().map_err(io)?;
        check_digest(sha256_of(&mut *input).or_fail(&place, code)?, promised, &place, "nothing was released")?;
        input.file().seek(SeekFrom::Start(start)).map_err(io)?;
    }
    let mut hashed = Hashed::new(&mut *input);
    PlainCtr::new(key).open(&mut hashed, stage.progress().count(output)).or_fail(&place, code)?;
    match cli.sha256 {
        Some(promised) => check_digest(hashed.finish(), promised, &place, "it was changed while it was read"),
        None => Ok(()),
    }
}

fn check_digest(actual: [u8; 32], promised: [u8; 32], place: &str, what: &str) -> Result<(), Failure> {
    if actual == promised {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::DigestMismatch, format_args!("{place}: not the digest of --sha256; {what}")))
}

fn code(error: &Error) -> ErrorCode {
    ErrorCode::from_name(error.code())
}
