//! Changing a file in place: it is replaced as a whole, or not at all.

use crate::cli::Cli;
use crate::failure::Places;
use crate::run::{PIECES, report, threads};
use crate::sealed_patch::{check, head_failure, unlock};
use loader_pack::{Statement, repack};
use loader_patch::Patch;
use loader_release::ReleaseFile;
use loader_seal::rekey::HeaderJournal;
use loader_seal::{Header, Key, Metadata, SealOptions, SealedWriter};
use loader_stage::{Content, ErrorCode, Failure, LockedFile, Output, Stage, Step};
use std::io;
use std::time::Instant;

/// Maximum number of keys in an event, whose length is limited.
const EVENT_KEYS_MAX: usize = 24;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> Result<(), Failure> {
    if cli.output.output.is_some() {
        return Err(Failure::new(ErrorCode::Usage, "-o needs --seed")
            .hint("copy the file and change the copy in place, to keep both".to_owned()));
    }
    if cli.file.as_os_str() == "-" {
        return Err(Failure::new(ErrorCode::Usage, "the file to change cannot be standard input")
            .hint("use --seed OLD, if standard input is the patch".to_owned()));
    }
    let keys = cli.keys.read(stage)?;
    let policy = cli.policy.read(stage)?;
    let mut input = stage.input(&cli.patch)?;
    let locked = LockedFile::lock(stage, &cli.file, "cp FILE COPY", "use az-patch --seed OLD")?;
    if HeaderJournal::path_for(&locked.path).symlink_metadata().is_ok() {
        let what = format_args!("{}: a change of its keys was interrupted", locked.name);
        let hint = format!("run az-rekey --recover {}", locked.name);
        return Err(Failure::new(ErrorCode::Temporary, what).hint(hint));
    }
    // The name leads to the locked file.
    let mut old = stage.input(&cli.file)?;
    let places = Places { old: locked.name.clone(), patch: input.name().to_owned(), target: locked.name.clone() };
    stage.begin();
    let start = Instant::now();
    let sealed_len = old.known_len().unwrap_or(0);
    let old = ReleaseFile::unlock(&mut old, &keys, cli.threads)?;
    let packed = old.packed().map_err(|error| places.open_failure(error))?;
    let header = old.header().clone();
    let mut reader = packed.into_reader(PIECES).map_err(|error| places.open_failure(error.into()))?;
    let unlocked = unlock(&mut input, &keys)?;
    let head_failure = |error| head_failure(error, &places.patch);
    let stream = unlocked.opened_stream(&mut input).map_err(|error| Failure::at(&places.patch, &error))?;
    let mut patch = Patch::read(stream).map_err(head_failure)?;
    patch.check_old(&reader.statement().release_id()).map_err(head_failure)?;
    let accepted = check(&patch, unlocked.metadata(), &policy, &places.patch)?;
    accepted.report(stage);

    let (statement, bytes) = (patch.statement().clone(), patch.stated_content().bytes.to_vec());
    let mut output = Output::file(&locked.path, Content::Binary)?;
    output.check_room(needed_room(sealed_len, reader.statement(), &statement))?;
    stage.progress().set_total(statement.content_len());
    let seal_failure = |error| places.write_failure(io::Error::from(error));
    let options = seal_options(&header, &statement);
    let mut sealed = SealedWriter::new(&mut output, &keys, &options).map_err(seal_failure)?;
    let mut content = patch.apply(&mut reader);
    let stated = loader_pack::StatedContent { statement: &statement, bytes: &bytes };
    let mut counted = stage.progress().count(&mut content);
    repack(&mut counted, &mut sealed, stated, cli.level, threads(cli)).map_err(|error| places.failure(error))?;
    let counts = content.counts();
    let new_header = sealed.finish().map_err(seal_failure)?;
    output.overwrite_start(new_header.as_bytes()).map_err(|error| Failure::io(&places.target, &error))?;
    output.commit()?;
    report_lost_slots(stage, &header, &keys);
    report(stage, counts, &accepted, start);
    Ok(())
}

/// Estimates the length of the new file from that of the old one. Its level of compression may be
/// lower.
fn needed_room(sealed_len: u64, old: &Statement, new: &Statement) -> u64 {
    let (old_len, new_len) = (u128::from(old.content_len().max(1)), u128::from(new.content_len()));
    let scaled = u128::from(sealed_len) * new_len / old_len;
    // Content that does not fit the estimate has at most this length.
    u64::try_from((scaled + scaled / 8).min(new_len)).unwrap_or(u64::MAX).saturating_add(1 << 20)
}

/// Returns the options for the new file: the cipher and the segments of the old one, and the
/// description in the statement.
fn seal_options(old: &Header, statement: &Statement) -> SealOptions {
    let metadata = Metadata {
        description: statement.description().clone(),
        encoding: Some(loader_pack::ENCODING.to_owned()),
        content_len: Some(statement.content_len()),
        // Known only at the end, and then written over this one.
        stream_len: Some(0),
        ..Metadata::default()
    };
    let segment_log2 = old.segment_len().trailing_zeros() as u8;
    SealOptions { suite: old.suite(), segment_log2, metadata, ..SealOptions::default() }
}

fn report_lost_slots(stage: &Stage, old: &Header, keys: &[Key]) {
    let given: Vec<_> = keys.iter().map(Key::id).collect();
    let devices = old.device_slots().iter().map(|device| &device.slot);
    let ids = old.key_slots().iter().chain(devices).map(|slot| slot.key_id).filter(|id| !given.contains(id));
    let lost: Vec<String> = ids.map(|id| id.to_string()).take(EVENT_KEYS_MAX).collect();
    if !lost.is_empty() {
        stage.step(Step::SlotsLost, &[("slots", lost.into())]);
    }
}
