//! From a pipe to a pipe: a new header, then the rest as it is.

use crate::cli::Cli;
use crate::published;
use crate::request::{Request, read_header, report};
use loader_model::PartsReceipt;
use loader_seal::rekey::Journal;
use loader_stage::{Content, Failure, Input, Output, Stage};
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::File;
use std::io::{self, Read};

/// Bytes that are copied between two looks at the progress.
const CHUNK_LEN: u64 = 4 << 20;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut input = stage.input(&cli.input)?;
    let request = Request::read(cli, stage)?;
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
        let new = published::rewrite(&whole, &request, &place)?;
        output.put(&new.bytes)?;
        report(stage, &new.header, new.moved, new.bytes.len() as u64);
    } else {
        let is_pipe = !input.is_seekable();
        let mut rest = &head[..];
        let old = read_header((&mut rest).chain(&mut input), &place, is_pipe)?;
        let new = request.apply(&old, &place, 0).map_err(|failure| match Journal::interrupted(input.path()) {
            None => failure,
            hint => failure.hint(hint),
        })?;
        output.put(new.as_bytes())?;
        output.put(rest)?;
        let copied = copy_rest(stage, &mut input, &mut output)?;
        let moved = new.as_bytes().len() != old.as_bytes().len();
        report(stage, &new, moved, (new.as_bytes().len() + rest.len()) as u64 + copied);
    }
    Ok(output.commit()?)
}

fn copy_rest(stage: &Stage, input: &mut Input, output: &mut Output) -> Result<u64, Failure> {
    let place = format!("{} to {}", input.name(), output.name());
    if blocks(input.file()) && blocks(output.as_file()) {
        return copy(stage, input.file(), output, &place);
    }
    // The kernel does not wait then, and what it has read meanwhile would be lost.
    in_chunks(stage, &place, || io::copy(&mut input.by_ref().take(CHUNK_LEN), output))
}

/// Copies what is left of `from`, inside the kernel where it can; gives the bytes.
pub(crate) fn copy(stage: &Stage, from: &File, output: &mut Output, place: &str) -> Result<u64, Failure> {
    in_chunks(stage, place, || io::copy(&mut from.take(CHUNK_LEN), output.as_file()))
}

fn in_chunks(stage: &Stage, place: &str, mut copy: impl FnMut() -> io::Result<u64>) -> Result<u64, Failure> {
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

fn blocks(file: &File) -> bool {
    fcntl_getfl(file).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK))
}
