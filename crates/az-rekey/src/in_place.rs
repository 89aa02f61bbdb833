//! Changing a file in place.

use crate::change::{KeyChange, emit_rekeyed, read_header};
use crate::cli::Cli;
use crate::overwrite::{self, overwrite};
use crate::published;
use crate::stream::copy;
use loader_model::PartsReceipt;
use loader_seal::Header;
use loader_stage::{Content, ErrorCode, Failure, LockedFile, Output, Stage, Step};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Number of slots to reserve space for if the stream must be moved, so that it is not moved
/// again for the next key.
const SPARE_SLOTS: usize = 8;

pub(crate) fn run(cli: &Cli, stage: &Stage, path: &Path) -> anyhow::Result<()> {
    let change = KeyChange::read(cli, stage)?;
    let locked = lock(stage, path)?;
    // Without locks, the journal is the only sign of another process.
    if !locked.is_locked && overwrite::journal_path(&locked).symlink_metadata().is_ok() {
        let why = format_args!("{}: another az-rekey is changing it, or was interrupted", locked.name);
        let hint = format!(
            "the filesystem has no locks: if no other az-rekey is running, run az-rekey --recover {}",
            locked.name
        );
        return Err(Failure::new(ErrorCode::Temporary, why).hint(hint).into());
    }
    recover_from_journal(stage, &locked)?;
    stage.begin();
    let failed = |error: io::Error| Failure::io(&locked.name, &error);
    let mut head = Vec::with_capacity(PartsReceipt::LINE_MAX);
    (&locked.file).take(PartsReceipt::LINE_MAX as u64).read_to_end(&mut head).map_err(failed)?;
    if head.starts_with(PartsReceipt::LINE_START) {
        let whole = published::read(head, &locked.file, &locked.name)?;
        let new = published::rewrite(&whole, &change, &locked.name)?;
        replace(&locked, |output| output.put(&new.bytes))?;
        emit_rekeyed(stage, &new.header, new.moved, new.bytes.len() as u64);
        return Ok(());
    }
    (&locked.file).rewind().map_err(failed)?;
    let old = read_header(&locked.file, &locked.name, false)?;
    let new = change.apply(&old, &locked.name, SPARE_SLOTS)?;
    if new.as_bytes().len() == old.as_bytes().len() {
        let written = overwrite(&locked, &old, &new)?;
        emit_rekeyed(stage, &new, false, written);
    } else {
        let written = move_stream(stage, &locked, &old, &new)?;
        emit_rekeyed(stage, &new, true, written);
    }
    Ok(())
}

fn lock(stage: &Stage, path: &Path) -> Result<LockedFile, Failure> {
    LockedFile::lock(stage, path, "az-rekey ... -o OUT FILE", "redirect input and output: az-rekey ... < IN > OUT")
}

/// Recovers the file after an interrupted change.
pub(crate) fn recover(stage: &Stage, path: &Path) -> anyhow::Result<()> {
    let locked = lock(stage, path)?;
    stage.begin();
    recover_from_journal(stage, &locked)?;
    Ok(())
}

fn recover_from_journal(stage: &Stage, locked: &LockedFile) -> Result<(), Failure> {
    if let Some(state) = overwrite::recover(locked)? {
        stage.step(Step::Recovered, &[("file", locked.name.as_str().into()), ("header", state.into())]);
    }
    Ok(())
}

/// Replaces the file by a new one with the new header and the same stream. Returns the
/// number of bytes written.
fn move_stream(stage: &Stage, locked: &LockedFile, old: &Header, new: &Header) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::io(&locked.name, &error);
    let stream_at = old.as_bytes().len() as u64;
    let len = locked.file.metadata().map_err(failed)?.len();
    stage.progress().set_total(len.saturating_sub(stream_at));
    (&locked.file).seek(SeekFrom::Start(stream_at)).map_err(failed)?;
    let mut copied = 0;
    replace(locked, |output| {
        output.put(new.as_bytes())?;
        copied = copy(stage, &locked.file, output, &locked.name).map_err(|failure| {
            let hint = "a longer header moves the stream, which needs space for the whole file; --replace does not";
            failure.hint(hint.to_owned())
        })?;
        Ok(())
    })?;
    Ok(new.as_bytes().len() as u64 + copied)
}

/// Replaces the file by the output of `write`, and keeps its owner and mode.
fn replace(locked: &LockedFile, write: impl FnOnce(&mut Output) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut output = Output::file(&locked.path, Content::Binary)?;
    write(&mut output)?;
    output.commit()
}
