//! Implementation of az-patch.

use crate::cli::Cli;
use crate::failure::Places;
use crate::in_place;
use crate::sealed_patch::{check, head_failure, unlock};
use loader_pack::copy_stated;
use loader_patch::{Patch, PatchCounts};
use loader_release::{Accepted, ReleaseFile};
use loader_stage::{Content, Failure, Stage, Step};
use std::path::Path;
use std::time::Instant;

/// Number of pieces of the old content that are kept in memory: a window touches at most two.
pub(crate) const PIECES: usize = 2;

/// Maximum number of threads by default: more would need more memory.
const THREADS: usize = 2;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    match &cli.seed {
        Some(old) => write_content(cli, stage, old)?,
        None => in_place::run(cli, stage)?,
    }
    Ok(())
}

pub(crate) fn threads(cli: &Cli) -> usize {
    let limit = if cli.threads.is_none() { THREADS } else { usize::MAX };
    loader_stage::thread_count(cli.threads).min(limit)
}

/// Writes the content of the new release to the output.
fn write_content(cli: &Cli, stage: &Stage, old: &Path) -> Result<(), Failure> {
    let (mut old, mut input) = (stage.input(old)?, stage.input(&cli.file)?);
    let keys = cli.keys.read(stage)?;
    let policy = cli.policy.read(stage)?;
    let mut output = stage.output(&cli.output, Content::Binary)?;
    let places =
        Places { old: old.name().to_owned(), patch: input.name().to_owned(), target: output.name().to_owned() };
    stage.begin();
    let start = Instant::now();
    let old = ReleaseFile::unlock(&mut old, &keys, cli.threads)?;
    let packed = old.packed().map_err(|error| places.open_failure(error))?;
    let mut old = packed.into_reader(PIECES).map_err(|error| places.open_failure(error.into()))?;
    let unlocked = unlock(&mut input, &keys)?;
    let head_failure = |error| head_failure(error, &places.patch);
    let stream = unlocked.opened_stream(&mut input).map_err(|error| Failure::at(&places.patch, &error))?;
    let mut patch = Patch::read(stream).map_err(head_failure)?;
    patch.check_old(&old.statement().release_id()).map_err(head_failure)?;
    let accepted = check(&patch, unlocked.metadata(), &policy, &places.patch)?;
    accepted.report(stage);
    let statement = patch.statement().clone();
    stage.progress().set_total(statement.content_len());
    let mut content = patch.apply(&mut old);
    copy_stated(&mut content, &mut stage.progress().count(&mut output), &statement, threads(cli))
        .map_err(|error| places.failure(error))?;
    let counts = content.counts();
    output.commit()?;
    if let Some(records) = policy.records() {
        records.propose(stage, &accepted)?;
    }
    report(stage, counts, &accepted, start);
    Ok(())
}

/// Reports the applied patch.
pub(crate) fn report(stage: &Stage, counts: PatchCounts, accepted: &Accepted, start: Instant) {
    let seconds = start.elapsed().as_millis() as f64 / 1000.0;
    let mut detail = vec![
        ("copied", counts.copied.into()),
        ("coded", counts.coded.into()),
        ("patch_size", counts.patch_len.into()),
        ("seconds", seconds.into()),
    ];
    detail.extend(accepted.release_id.map(|id| ("release_id", id.to_string().into())));
    detail.extend(accepted.release.map(|release| ("release", release.into())));
    stage.step(Step::Patched, &detail);
}
