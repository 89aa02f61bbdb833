//! Copying from input to output with a changed header.

use crate::change::{KeyChange, emit_rekeyed, read_header};
use crate::cli::Cli;
use crate::published;
use loader_model::PartsReceipt;
use loader_seal::rekey::HeaderJournal;
use loader_stage::{Content, Failure, Input, Output, Stage};
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::File;
use std::io::{self, Read};

/// Number of bytes that are copied between two updates of the progress.
const CHUNK_LEN: u64 = 4 << 20;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let change = KeyChange::read(cli, stage)?;
    let mut output = stage.output(&cli.output, Content::Binary)?;
    stage.begin();
    if let Some(len) = input.known_len() {
        stage.progress().set_total(len);
    }
    let place = input.name().to_owned();
    let mut head = Vec::with_capacity(PartsReceipt::LINE_MAX);
    let read = input.by_ref().take(PartsReceipt::LINE_MAX as u64).read_to_end(&mut head);
    read.map_err(|error| Failure::io(&place, &error))?;
    stage.progress().add(head.len() as u64);
    if head.starts_with(PartsReceipt::LINE_START) {
        let whole = published::read(head, &mut input, &place)?;
        let new = published::rewrite(&whole, &change, &place)?;
        output.put(&new.bytes)?;
        emit_rekeyed(stage, &new.header, new.moved, new.bytes.len() as u64);
    } else {
        let is_pipe = !input.is_seekable();
        let mut rest = &head[..];
        let old = read_header((&mut rest).chain(&mut input), &place, is_pipe)?;
        let new =
            change.apply(&old, &place, 0).map_err(|failure| match HeaderJournal::recovery_hint(input.path()) {
                None => failure,
                hint => failure.hint(hint),
            })?;
        output.put(new.as_bytes())?;
        output.put(rest)?;
        let copied = copy_rest(stage, &mut input, &mut output)?;
        let moved = new.as_bytes().len() != old.as_bytes().len();
        emit_rekeyed(stage, &new, moved, (new.as_bytes().len() + rest.len()) as u64 + copied);
    }
    Ok(output.commit()?)
}

fn copy_rest(stage: &Stage, input: &mut Input, output: &mut Output) -> Result<u64, Failure> {
    let place = format!("{} to {}", input.name(), output.name());
    if is_blocking(input.file()) && is_blocking(output.as_file()) {
        return copy(stage, input.file(), output, &place);
    }
    // Copying inside the kernel would fail with EAGAIN, and bytes that were already read would be lost.
    copy_chunks(stage, &place, || io::copy(&mut input.by_ref().take(CHUNK_LEN), output))
}

/// Copies the rest of `from` to `output`, inside the kernel if possible. Returns the number
/// of bytes.
pub(crate) fn copy(stage: &Stage, from: &File, output: &mut Output, place: &str) -> Result<u64, Failure> {
    copy_chunks(stage, place, || io::copy(&mut from.take(CHUNK_LEN), output.as_file()))
}

fn copy_chunks(stage: &Stage, place: &str, mut copy: impl FnMut() -> io::Result<u64>) -> Result<u64, Failure> {
    let mut copied = 0;
    loop {
        let some = copy().map_err(|error| Failure::io(place, &error))?;
        if some == 0 {
            return Ok(copied);
        }
        stage.progress().add(some);
        copied += some;
    }
}

fn is_blocking(file: &File) -> bool {
    fcntl_getfl(file).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK))
}
