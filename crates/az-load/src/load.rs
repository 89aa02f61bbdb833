//! Sends the layers as they arrive, and the part of the archive that names the images only after
//! the verdict.

use crate::present;
use crate::target::LoadTarget;
use crate::upstream::Upstream;
use loader_archive::{
    Archive, ArchiveReader, CommitRecord, Compression, DecompressingReader, Error as ArchiveError, Event, Expected,
    Image, LayerNames, LayerWriter, PlatformChoice, Reference, Selected, SkipLayers, compare,
};
use loader_engine::{Engine, Error as EngineError, Found, Listing, Progress, Target};
use loader_model::{Coded, printable};
use loader_stage::{ErrorCode, Failure, OrFail, Stage, Step};
use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

/// Size of the read buffer in bytes.
const BUFFER_LEN: usize = 256 * 1024;

/// Maximum wait for the images if the response of the engine was lost after the commit.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two checks of the images during this wait.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(200);

/// Load of one archive.
pub(crate) struct Load<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) target: &'a LoadTarget,
    /// Name of the input in messages.
    pub(crate) place: &'a str,
    pub(crate) upstream: Upstream,
    pub(crate) expected: Option<&'a Expected>,
    pub(crate) platforms: PlatformChoice,
    pub(crate) extra_tags: &'a [Reference],
    pub(crate) names: LayerNames,
}

/// Error that ends a transfer.
enum Fault {
    Archive(ArchiveError),
    Engine(EngineError),
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Load<'_> {
    /// Loads the archive and checks its images.
    pub(crate) fn run(mut self, input: Box<dyn Read>, skip: SkipLayers) -> Result<Vec<Found>, Failure> {
        let mut target = None;
        let mut is_at_end = false;
        let read = self.transfer(input, skip, &mut target, &mut is_at_end);
        // `transfer` has closed the input, so the previous stage can exit.
        let archive = read.map_err(|fault| self.first_cause(fault, is_at_end))?;
        let ending = self.upstream.wait_for_exit()?;
        let selected = self.select(&archive).map_err(|error| self.archive_failure(&error))?;
        let layout = self.target.layout(&selected);
        let record = CommitRecord::new(&selected, layout, &self.names).map_err(|error| self.archive_failure(&error))?;
        self.stage.step(
            Step::Verdict,
            &[
                ("upstream", ending.as_str().into()),
                ("images", record.images.len().into()),
                ("expected", self.expected.is_some().into()),
            ],
        );
        self.report(&archive, &selected);
        let mut target = match target {
            Some(target) => target,
            // Every layer was skipped.
            None => self.target.open().or_fail()?,
        };
        let Some(engine) = self.target.engine() else {
            self.stage.begin_commit();
            let committed = target.send(&record.bytes).and_then(|()| self.commit(target, &record.images));
            return committed.map(|()| found_without_engine(record.images)).or_fail();
        };
        let before = engine.list().or_fail()?;
        let kept = engine.keep_replaced(&before, &record.images).or_fail()?;
        self.stage.begin_commit();
        let committed = target.send(&record.bytes).and_then(|()| self.commit(target, &record.images));
        let outcome = self.check(committed, engine, &record.images);
        let outcome = outcome.map_err(|cause| undo(engine, &before, &record.images, cause));
        let left = engine.release(kept);
        if !left.is_empty() {
            self.stage.step(Step::TemporaryNames, &[("names", left.join(", ").into())]);
        }
        outcome
    }

    fn transfer(
        &self,
        input: Box<dyn Read>,
        skip: SkipLayers,
        target: &mut Option<Target>,
        is_at_end: &mut bool,
    ) -> Result<Archive, Fault> {
        let mut layers = 0_u64;
        let mut writer = LayerWriter::new(self.names.clone());
        let mut emit = |event: Event<'_>| -> Result<(), Fault> {
            let target = match target {
                Some(target) => target,
                None => target.insert(self.target.open()?),
            };
            writer.write(&event, &mut |bytes| target.send(bytes))?;
            let (step, name, size) = match event {
                Event::LayerEnds { name, size } => (Step::LayerSent, name, size),
                Event::LayerSkipped { name, size } => (Step::LayerSkipped, name, size),
                Event::LayerBegins { .. } | Event::LayerBytes(_) => return Ok(()),
            };
            layers += 1;
            self.stage.step(step, &[("n", layers.into()), ("name", printable(name).into()), ("size", size.into())]);
            Ok(())
        };
        let mut buffer = vec![0; BUFFER_LEN];
        let mut reader = ArchiveReader::new(skip);
        let mut input = DecompressingReader::new(self.stage.progress().count(input)).inspect_err(|error| {
            *is_at_end = matches!(error, ArchiveError::Empty);
        })?;
        // The previous stage has sent its first bytes.
        self.stage.begin();
        match input.compression() {
            Some(Compression::Gzip) => self.stage.step(Step::Gzip, &[]),
            Some(Compression::Zstd) => self.stage.step(Step::Zstd, &[]),
            Some(Compression::Other(_)) | None => {}
        }
        loop {
            let read = input.read(&mut buffer).inspect_err(|error| {
                *is_at_end = matches!(error, ArchiveError::Truncated { .. });
            })?;
            match read {
                0 => break,
                read => reader.push(&buffer[..read], &mut emit)?,
            }
        }
        *is_at_end = true;
        Ok(reader.finish()?)
    }

    fn select<'b>(&self, archive: &'b Archive) -> Result<Vec<Selected<'b>>, ArchiveError> {
        if let Some(expected) = self.expected {
            compare(&archive.images()?, &expected.images)?;
        }
        let selected = archive.select(&self.platforms, self.extra_tags)?;
        self.target.check_support(&selected)?;
        Ok(selected)
    }

    /// Reports skipped layers, skipped platforms, and images that the engine cannot run.
    fn report(&self, archive: &Archive, selected: &[Selected<'_>]) {
        if archive.skipped > 0 {
            let detail = [("layers", archive.skipped.into()), ("bytes", archive.skipped_len.into())];
            self.stage.step(Step::LayersSkipped, &detail);
        }
        let own = self.target.own_platform();
        for one in selected {
            let image = printable(&one.label());
            if !one.other_platforms.is_empty() {
                let others: Vec<String> = one.other_platforms.iter().map(ToString::to_string).collect();
                let detail = [("image", image.clone().into()), ("skipped", printable(&others.join(", ")).into())];
                self.stage.step(Step::Platforms, &detail);
            }
            let PlatformChoice::Engine(own) = &own else { continue };
            let runs = one.platforms().any(|platform| platform.is_unknown() || platform.fit(own).is_some());
            if let (false, Some(platform)) = (runs, one.platforms().next()) {
                let platform = printable(&platform.to_string());
                let detail =
                    [("image", image.into()), ("platform", platform.into()), ("engine", own.to_string().into())];
                self.stage.step(Step::OtherPlatform, &detail);
            }
        }
    }

    /// Returns the failure to report. A previous stage that failed often leaves an incomplete
    /// archive; its failure is then the cause.
    fn first_cause(&mut self, fault: Fault, is_at_end: bool) -> Failure {
        match fault {
            Fault::Engine(error) => Failure::of(&error),
            Fault::Archive(error) => {
                let upstream =
                    if is_at_end { self.upstream.wait_for_exit().err() } else { self.upstream.known_failure() };
                upstream.unwrap_or_else(|| self.archive_failure(&error))
            }
        }
    }

    fn archive_failure(&self, error: &ArchiveError) -> Failure {
        Failure::new(error.code(), format_args!("{}: {error}; nothing was loaded", self.place)).hint(error.hint())
    }

    fn commit(&self, target: Target, images: &[Image]) -> Result<(), EngineError> {
        let layers: BTreeSet<_> =
            images.iter().flat_map(|image| &image.layers).filter_map(|layer| layer.diff_id.as_deref()).collect();
        self.stage.layers(Step::Unpacking, 0, layers.len());
        let mut begun = 0;
        target.commit(|progress| {
            // The engine reports a layer when it begins to unpack it.
            if let Progress::Layer(_) = progress {
                self.stage.layers(Step::Unpacking, begun, layers.len().max(begun));
                begun += 1;
            }
        })
    }

    /// Checks that the engine has the images after the commit. If only its response was lost, it
    /// has the whole archive and may still be loading it, so the check is repeated for a while.
    fn check(
        &self,
        committed: Result<(), EngineError>,
        engine: &Engine,
        images: &[Image],
    ) -> Result<Vec<Found>, Failure> {
        let error = match committed {
            Ok(()) => {
                return present::check_all(engine, images)?.map_err(|absence| {
                    let why = format_args!("the engine reports that it loaded everything, but {absence}").to_string();
                    Failure::new(ErrorCode::Protocol, why)
                });
            }
            Err(error) => error,
        };
        if matches!(error, EngineError::Gone { .. } | EngineError::Silent { .. }) {
            self.stage.step(Step::AnswerLost, &[]);
            let start = Instant::now();
            while start.elapsed() < CONFIRM_TIMEOUT {
                if let Ok(Ok(found)) = present::check_all(engine, images) {
                    return Ok(found);
                }
                std::thread::sleep(CONFIRM_INTERVAL);
            }
            return Err(Failure::of(&error).hint("it may still be loading: run this again later".to_owned()));
        }
        Err(Failure::of(&error))
    }
}

/// Restores the tags after a failure. Returns `cause`, with a hint if that failed too.
fn undo(engine: &Engine, before: &Listing, images: &[Image], cause: Failure) -> Failure {
    let hint = match engine.restore(before, images) {
        Ok(failed) if failed.is_empty() => return cause,
        Ok(failed) => format!("these tags could not be restored: {}", printable(&failed.join(", "))),
        Err(_) => "a part may be loaded, and could not be removed: run it again".to_owned(),
    };
    match cause.hint_text().map(|other| format!("{hint}; {other}")) {
        Some(both) => cause.hint(both),
        None => cause.hint(hint),
    }
}

/// Returns ids and tags, as in the archive, of images that a command has loaded.
fn found_without_engine(images: Vec<Image>) -> Vec<Found> {
    let id = |image: &Image| image.config.clone().or_else(|| image.manifest.clone()).unwrap_or_default();
    images.into_iter().map(|image| Found { id: id(&image), tags: image.tags }).collect()
}
