//! A file that is changed where it stands.

use crate::cli::Cli;
use crate::overwrite::{self, overwrite};
use crate::published;
use crate::request::{Request, read_header, report};
use crate::stream::copy;
use crate::target::Target;
use loader_model::PartsReceipt;
use loader_seal::Header;
use loader_stage::{Content, ErrorCode, Failure, Output, Stage};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Slots to leave room for where the stream must move anyway, so that it does not
/// move again with the next key.
const SPARE_SLOTS: usize = 8;

pub(crate) fn run(cli: &Cli, stage: &Stage, path: &Path) -> anyhow::Result<()> {
    let request = Request::read(cli, stage)?;
    let target = Target::lock(stage, path)?;
    // The journal's name is the lock that is left then.
    if !target.is_locked && target.journal_path().symlink_metadata().is_ok() {
        let why = format_args!("{}: another az-rekey works on it, or was interrupted", target.name);
        let hint = format!("the file system has no locks: once no other runs, az-rekey --recover {}", target.name);
        return Err(Failure::new(ErrorCode::Temporary, why).hint(hint).into());
    }
    mend(stage, &target)?;
    stage.begin();
    let failed = |error: io::Error| Failure::io(&target.name, &error);
    let mut head = Vec::with_capacity(PartsReceipt::LINE_MAX);
    (&target.file).take(PartsReceipt::LINE_MAX as u64).read_to_end(&mut head).map_err(failed)?;
    if head.starts_with(PartsReceipt::LINE_START) {
        let whole = published::read(head, &target.file, &target.name)?;
        let new = published::rewrite(&whole, &request, &target.name)?;
        replace(&target, |output| output.put(&new.bytes))?;
        report(stage, &new.header, new.moved, new.bytes.len() as u64);
        return Ok(());
    }
    (&target.file).rewind().map_err(failed)?;
    let old = read_header(&target.file, &target.name, false)?;
    let new = request.apply(&old, &target.name, SPARE_SLOTS)?;
    if new.as_bytes().len() == old.as_bytes().len() {
        let written = overwrite(&target, &old, &new)?;
        report(stage, &new, false, written);
    } else {
        let written = move_stream(stage, &target, &old, &new)?;
        report(stage, &new, true, written);
    }
    Ok(())
}

/// Only what every run does first.
pub(crate) fn recover(stage: &Stage, path: &Path) -> anyhow::Result<()> {
    let target = Target::lock(stage, path)?;
    stage.begin();
    mend(stage, &target)?;
    Ok(())
}

fn mend(stage: &Stage, target: &Target) -> Result<(), Failure> {
    if let Some(found) = overwrite::recover(target)? {
        stage.step("recovered", &[("file", target.name.as_str().into()), ("header", found.into())]);
    }
    Ok(())
}

/// A new file in the place of the old one: the new header, and the stream behind it.
fn move_stream(stage: &Stage, target: &Target, old: &Header, new: &Header) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::io(&target.name, &error);
    let stream_at = old.as_bytes().len() as u64;
    let len = target.file.metadata().map_err(failed)?.len();
    stage.progress().set_total(len.saturating_sub(stream_at));
    (&target.file).seek(SeekFrom::Start(stream_at)).map_err(failed)?;
    let mut copied = 0;
    replace(target, |output| {
        output.put(new.as_bytes())?;
        copied = copy(stage, &target.file, output, &target.name).map_err(|failure| {
            let hint = "the longer header moves the stream, which takes room for the whole file; --replace does not";
            failure.hint(hint.to_owned())
        })?;
        Ok(())
    })?;
    Ok(new.as_bytes().len() as u64 + copied)
}

/// Replaces the target by the bytes that `write` writes, and keeps its owner and mode.
fn replace(target: &Target, write: impl FnOnce(&mut Output) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut output = Output::file(&target.path, Content::Binary)?;
    write(&mut output)?;
    output.commit()
}
